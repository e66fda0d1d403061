#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Vitro beside PyTorch and ONNX Runtime on this machine: images a second and peak memory.

One random set of weights serves all three: saved as safetensors for Vitro, exported to ONNX. Their
logits of one picture must agree, or the exit status is 1. Then every program is timed in a process
of its own, in turn, for several rounds, so that a machine that wanders does so under all of them;
the figure is the median of the rounds' medians. Run it through peers.sh, which finds the packages.
"""
import argparse
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
VITRO = os.path.join(HERE, "..", "build", "release", "vitro")
SIZES = {  # embed_dim, depth, heads
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}
CLASSES = 1000
WARM_UPS, MIN_RUNS = 2, 5
LOGITS_LIMIT = 1e-3  # of the logits' spread


def geometry(name):
    found = re.fullmatch(r"vit_(tiny|small|base|large|huge)_patch(14|16|32)_(224|384)", name)
    if not found:
        sys.exit(f"peers: --model: found '{name}', expected vit_SIZE_patchP_S, as "
                 "vit_base_patch16_224")
    dim, depth, heads = SIZES[found[1]]
    return {"dim": dim, "depth": depth, "heads": heads, "patch": int(found[2]),
            "side": int(found[3])}


# ---- the model, with timm's parameter names ------------------------------------------------------


def make_vit(g):
    import torch
    from torch import nn
    import torch.nn.functional as F

    class Attention(nn.Module):
        def __init__(self, dim, heads):
            super().__init__()
            self.heads = heads
            self.qkv = nn.Linear(dim, 3 * dim)
            self.proj = nn.Linear(dim, dim)

        def forward(self, x):
            B, T, D = x.shape
            qkv = self.qkv(x).reshape(B, T, 3, self.heads, D // self.heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            x = F.scaled_dot_product_attention(q, k, v)
            return self.proj(x.transpose(1, 2).reshape(B, T, D))

    class Mlp(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.fc1 = nn.Linear(dim, 4 * dim)
            self.fc2 = nn.Linear(4 * dim, dim)

        def forward(self, x):
            return self.fc2(F.gelu(self.fc1(x)))

    class Block(nn.Module):
        def __init__(self, dim, heads):
            super().__init__()
            self.norm1 = nn.LayerNorm(dim, eps=1e-6)
            self.attn = Attention(dim, heads)
            self.norm2 = nn.LayerNorm(dim, eps=1e-6)
            self.mlp = Mlp(dim)

        def forward(self, x):
            x = x + self.attn(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class PatchEmbed(nn.Module):
        def __init__(self, dim, patch):
            super().__init__()
            self.proj = nn.Conv2d(3, dim, patch, patch)

        def forward(self, x):
            return self.proj(x).flatten(2).transpose(1, 2)

    class Vit(nn.Module):
        def __init__(self, dim, depth, heads, patch, side):
            super().__init__()
            self.patch_embed = PatchEmbed(dim, patch)
            self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
            self.pos_embed = nn.Parameter(0.02 * torch.randn(1, (side // patch) ** 2 + 1, dim))
            self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
            self.norm = nn.LayerNorm(dim, eps=1e-6)
            self.head = nn.Linear(dim, CLASSES)

        def forward(self, x):
            x = self.patch_embed(x)
            x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), 1) + self.pos_embed
            return self.head(self.norm(self.blocks(x))[:, 0])

    torch.manual_seed(0)
    return Vit(**g)


# ---- one process's work: `peers.py --work JSON` prints a line of JSON ----------------------------


def median_seconds(run, seconds):
    for _ in range(WARM_UPS):
        run()
    times, began = [], time.perf_counter()
    while len(times) < MIN_RUNS or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def torch_run(w, g):
    """A function that does one pass or step."""
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(w["threads"])
    model = make_vit(g)
    model.load_state_dict(load_file(w["safetensors"]))
    images = torch.rand(w["batch"], 3, g["side"], g["side"]) * 2 - 1
    labels = torch.arange(w["batch"]) % CLASSES
    cast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=w["precision"] == "bf16")
    if w["mode"] == "infer":
        model.eval()

        def run():
            with torch.inference_mode(), cast:
                model(images)
        return run
    if w["mode"] == "head":
        for name, p in model.named_parameters():
            p.requires_grad_(name.startswith("head."))
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-6,
                                momentum=0.9, weight_decay=5e-5)

    def step():
        with cast:
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
    return step


def onnx_session(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def prepare(w, g):
    """The same model for all: writes weights, graph and a picture's input, compares the logits."""
    import numpy
    import onnxruntime
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(w["threads"])
    model = make_vit(g).eval()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, w["safetensors"])
    torch.onnx.export(model, (torch.zeros(2, 3, g["side"], g["side"]),), w["onnx"],
                      input_names=["images"], output_names=["logits"], dynamo=True, verbose=False,
                      dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},))
    vitro = vitro_logits(w, g)
    images = numpy.load(w["input"])
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()[0]
    session = onnx_session(w["onnx"], w["threads"])
    found = {"Vitro": numpy.array(vitro),
             "ONNX Runtime": session.run(None, {"images": images})[0][0]}
    return {"versions": f"PyTorch {torch.__version__} (eager; bf16: autocast), "
                        f"ONNX Runtime {onnxruntime.__version__}",
            "differences": {name: float(abs(v - expected).max() / expected.std())
                            for name, v in found.items()}}


def vitro_logits(w, g):
    """What Vitro says of a random picture, whose input tensor it writes to w["input"]."""
    with open(w["picture"], "wb") as f:
        f.write(b"P6\n%d %d\n255\n" % (g["side"], g["side"]))
        f.write(random.Random(1).randbytes(3 * g["side"] ** 2))
    command = [w["vitro"], "predict", "--weights", w["safetensors"], "--json", "--logits",
               "--threads", str(w["threads"]), "--dump-input", w["input"], w["picture"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"peers: {done.stderr.strip()}")
    return json.loads(done.stdout)["logits"]


def work(w):
    g = geometry(w["model"])
    if w["program"] == "prepare":
        result = prepare(w, g)
    elif w["program"] == "onnxruntime":
        import numpy

        session = onnx_session(w["onnx"], w["threads"])
        images = numpy.random.default_rng(0).uniform(
            -1, 1, (w["batch"], 3, g["side"], g["side"])).astype(numpy.float32)
        result = {"seconds": median_seconds(lambda: session.run(None, {"images": images}),
                                            w["for_seconds"])}
    else:
        result = {"seconds": median_seconds(torch_run(w, g), w["for_seconds"])}
    print(json.dumps(result))


# ---- processes -----------------------------------------------------------------------------------


def run_alone(command, threads):
    """Output, error text, status and peak resident MiB of a process.

    Linux counts what the parent held when it forked, so this process must stay small: whatever
    needs PyTorch is done in a process of its own, preparations included.
    """
    assert "torch" not in sys.modules
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return (out.read().decode(), err.read().decode().strip(), process.returncode,
                usage.ru_maxrss / 1024)


def work_alone(w):
    """What work() prints in a process of its own, and that one's peak MiB."""
    command = [sys.executable, os.path.abspath(__file__), "--work", json.dumps(w)]
    out, err, status, mib = run_alone(command, w["threads"])
    if status != 0:
        raise RuntimeError(err.splitlines()[-1] if err else f"exit status {status}")
    return json.loads(out.splitlines()[-1]), mib


def time_vitro(a, w):
    command = [a.vitro, "bench", "--weights", w["safetensors"], "--batch-size", str(w["batch"]),
               "--precision", w["precision"], "--threads", str(w["threads"]), "--seconds",
               str(w["for_seconds"]), "--json"]
    if w["mode"] != "infer":
        command += ["--train", "--freeze-layers", "true" if w["mode"] == "head" else "false"]
    out, err, status, mib = run_alone(command, w["threads"])
    if status != 0:
        raise RuntimeError(err.splitlines()[-1] if err else f"exit status {status}")
    result = json.loads(out)["results"][0]
    return result["images_per_second"], mib


def time_peer(a, w):
    result, mib = work_alone(w)
    return w["batch"] / result["seconds"], mib


# ---- the comparison ------------------------------------------------------------------------------

PROGRAMS = {"vitro": "Vitro", "torch": "PyTorch", "onnxruntime": "ONNX Runtime"}
MODES = {"infer": "prediction", "train": "full training step", "head": "training step, head only"}


def cases(a):
    """What is timed: (mode, batch, precision, program)."""
    for batch in a.batch_size:
        for precision in ("fp32", "bf16", "int8"):
            yield "infer", batch, precision, "vitro"
            if precision != "int8":
                yield "infer", batch, precision, "torch"
            if precision == "fp32":
                yield "infer", batch, precision, "onnxruntime"
    for mode in ("train", "head"):
        for precision in ("fp32", "bf16"):
            for program in ("vitro", "torch"):
                yield mode, a.train_batch_size, precision, program


def measure(a, files):
    """(images a second, MiB) of each case that could run, the medians of the rounds."""
    rounds, missing = {}, {}
    for n in range(a.rounds):
        for case in cases(a):
            if case in missing:
                continue
            mode, batch, precision, program = case
            w = dict(files, model=a.model, mode=mode, batch=batch, precision=precision,
                     program=program, threads=a.threads, for_seconds=a.seconds)
            label = f"{PROGRAMS[program]}, {MODES[mode]}, {precision}, batch {batch}"
            try:
                speed, mib = (time_vitro if program == "vitro" else time_peer)(a, w)
            except RuntimeError as e:
                missing[case] = str(e)
                print(f"peers: {label}: left out: {e}", file=sys.stderr)
                continue
            print(f"peers: round {n + 1} of {a.rounds}: {label}: {speed:.2f} images/s, "
                  f"{mib:.0f} MiB", file=sys.stderr)
            rounds.setdefault(case, []).append((speed, mib))
    return {case: tuple(statistics.median(column) for column in zip(*values))
            for case, values in rounds.items()}


def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def rows_of(a):
    """(mode, batch, precision), each once, in order."""
    return list(dict.fromkeys((mode, batch, precision) for mode, batch, precision, _ in cases(a)))


def ratio(x, y):
    return f"{x / y:.2f}" if x and y else "-"


def print_speed(a, found):
    print("| | precision | batch | Vitro images/s | PyTorch | ONNX Runtime | Vitro/PyTorch |"
          " Vitro/ONNX Runtime |\n|---|---|---|---|---|---|---|---|")
    for mode, batch, precision in rows_of(a):
        speed = {p: found.get((mode, batch, precision, p), (None,))[0] for p in PROGRAMS}
        if not any(speed.values()):
            continue
        cells = [f"{speed[p]:.2f}" if speed[p] else "-" for p in PROGRAMS]
        print(f"| {MODES[mode]} | {precision} | {batch} | {' | '.join(cells)} |"
              f" {ratio(speed['vitro'], speed['torch'])} |"
              f" {ratio(speed['vitro'], speed['onnxruntime'])} |")


def print_memory(a, found):
    print("\n| peak resident memory | precision | batch | Vitro MiB | PyTorch MiB | Vitro/PyTorch |"
          "\n|---|---|---|---|---|---|")
    for mode, batch, precision in rows_of(a):
        mib = {p: found.get((mode, batch, precision, p), (None, None))[1] for p in PROGRAMS}
        if mode == "infer" or not any(mib.values()):
            continue
        cells = [f"{mib[p]:.0f}" if mib[p] else "-" for p in ("vitro", "torch")]
        print(f"| {MODES[mode]} | {precision} | {batch} | {' | '.join(cells)} |"
              f" {ratio(mib['vitro'], mib['torch'])} |")


def print_machine(a, versions):
    version = subprocess.run([a.vitro, "--version"], capture_output=True, text=True, check=True)
    print(f"{a.model} on {cpu_name()}, {a.threads} threads each; {version.stdout.splitlines()[0]}, "
          f"{versions}; rounds: {a.rounds}\n")


def warn_if_busy():
    """Threads that spin where others compute lose tenfold, each program differently."""
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"peers: this machine is busy (load {load:.1f}): the figures will not tell how fast "
              "the programs are", file=sys.stderr)


def compare(a):
    geometry(a.model)
    warn_if_busy()
    with tempfile.TemporaryDirectory(prefix="vitro-peers.") as folder:
        files = {"safetensors": os.path.join(folder, "vit.safetensors"),
                 "onnx": os.path.join(folder, "vit.onnx")}
        try:
            prepared, _ = work_alone(dict(files, program="prepare", model=a.model, vitro=a.vitro,
                                          threads=a.threads,
                                          picture=os.path.join(folder, "picture.ppm"),
                                          input=os.path.join(folder, "input.npy")))
        except RuntimeError as e:
            sys.exit(f"peers: preparing the model: {e}")
        differences = prepared["differences"]
        shown = ", ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
        print(f"peers: logits, difference from PyTorch's: {shown}", file=sys.stderr)
        found = measure(a, files)
    print_machine(a, prepared["versions"])
    print_speed(a, found)
    print_memory(a, found)
    print(f"\nLogits, largest difference from PyTorch's as a share of their spread: {shown}.")
    if not all(difference < LOGITS_LIMIT for difference in differences.values()):
        sys.exit("peers: the logits do not agree: the speeds are not of the same thing")


def main():
    p = argparse.ArgumentParser(description=__doc__, prog="peers.sh",
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="vit_base_patch16_224", help="vit_SIZE_patchP_S")
    p.add_argument("--batch-size", default="1,8", help="of prediction, with commas",
                   type=lambda s: [int(v) for v in s.split(",")])
    p.add_argument("--train-batch-size", default=16, type=int)
    p.add_argument("--threads", default=2, type=int, help="of every program")
    p.add_argument("--rounds", default=5, type=int)
    p.add_argument("--seconds", default=5.0, type=float, help="per program and round")
    p.add_argument("--quick", action="store_true", help="one round of half a second, to try it")
    p.add_argument("--vitro", default=VITRO, help="the program")
    p.add_argument("--work", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.work:
        return work(json.loads(a.work))
    if a.quick:
        a.rounds, a.seconds = 1, 0.5
    if not os.access(a.vitro, os.X_OK):
        sys.exit(f"peers: {a.vitro} is not there: build Vitro first, or give --vitro")
    return compare(a)


if __name__ == "__main__":
    main()
