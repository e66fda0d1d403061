#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_onnx.py VITRO: exports models as ONNX and runs them under ONNX Runtime.

- tests/golden/model/*.safetensors: against PyTorch's float64 outputs that lie in them;
- a model of vit_tiny_patch16_224's size with random weights, inside the file and beside it:
  against what `vitro predict` says of the same input.

Each file passes onnx.checker, takes any batch size, and gives logits within 1e-4 of their spread.
Exits with 77 where onnx, onnxruntime or numpy is missing."""
import glob
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime
except ImportError as error:
    print(f"check_onnx: cannot run here: {error}")
    sys.exit(77)

LIMIT = 1e-4  # of the outputs' spread (standard deviation)
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
vitro = os.path.abspath(sys.argv[1])


def read_safetensors(path):
    types = {"F32": np.float32, "F64": np.float64, "I32": np.int32}
    with open(path, "rb") as f:
        data = f.read()
    n = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8:8 + n]), data[8 + n:]
    header.pop("__metadata__", None)
    return {k: np.frombuffer(body[slice(*v["data_offsets"])], types[v["dtype"]]).reshape(v["shape"])
            for k, v in header.items()}


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": "F32", "shape": t.shape, "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for t in tensors.values():
            f.write(np.ascontiguousarray(t, np.float32).tobytes())


def convert(source, target, *options):
    subprocess.run([vitro, "convert", source, target, *map(str, options)], check=True,
                   stderr=subprocess.DEVNULL)


def load(path):
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path, load_external_data=False)
    assert model.opset_import[0].version == 17, model.opset_import
    assert model.producer_name == "vitro"
    return model, onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def check(what, found, expected):
    assert found.shape == expected.shape, (found.shape, expected.shape)
    error = np.abs(found - expected).max() / expected.std()
    print(f"{what}: {error:.2e} of the spread")
    assert error <= LIMIT, what


def check_golden(path, folder):
    t = read_safetensors(path)
    (_, patch, _, classes, _, _, heads, _, _, scale, _, _, eps, act) = t["config"].tolist()[:14]
    height, width = t["input"].shape[2:]
    weights, target = os.path.join(folder, "golden.safetensors"), os.path.join(folder, "golden.onnx")
    write_safetensors(weights, {k[2:]: v for k, v in t.items() if k.startswith("w.")})
    convert(weights, target, "--num-heads", int(heads), "--norm-eps", eps, "--qk-scale", scale,
            "--act", "gelu" if act == 1 else "gelu_tanh", "--img-size", f"{height}x{width}",
            "--patch-size", int(patch))
    model, session = load(target)
    output = session.get_outputs()[0]
    assert output.name == ("logits" if classes else "features"), output.name
    name, x = session.get_inputs()[0].name, t["input"]
    check(os.path.basename(path), session.run(None, {name: x})[0], t["output"])
    check("  one by one", np.concatenate([session.run(None, {name: x[i:i + 1]})[0]
                                          for i in range(len(x))]), t["output"])
    # the very tensors of the checkpoint
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    for k, v in t.items():
        if k.startswith("w."):
            assert np.array_equal(constants[k[2:]], v), k


def random_vit(D, depth, P, S, K, seed):
    r = np.random.default_rng(seed)
    def w(*shape): return r.normal(0, 0.05, shape).astype(np.float32)
    t = {"cls_token": w(1, 1, D), "pos_embed": w(1, (S // P) ** 2 + 1, D),
         "patch_embed.proj.weight": w(D, 3, P, P), "patch_embed.proj.bias": w(D)}
    for i in range(depth):
        b = f"blocks.{i}."
        t |= {b + "norm1.weight": 1 + w(D), b + "norm1.bias": w(D),
              b + "attn.qkv.weight": w(3 * D, D), b + "attn.qkv.bias": w(3 * D),
              b + "attn.proj.weight": w(D, D), b + "attn.proj.bias": w(D),
              b + "norm2.weight": 1 + w(D), b + "norm2.bias": w(D),
              b + "mlp.fc1.weight": w(4 * D, D), b + "mlp.fc1.bias": w(4 * D),
              b + "mlp.fc2.weight": w(D, 4 * D), b + "mlp.fc2.bias": w(D)}
    return t | {"norm.weight": 1 + w(D), "norm.bias": w(D), "head.weight": w(K, D),
                "head.bias": w(K)}


def check_tiny(folder):
    weights = os.path.join(folder, "tiny.safetensors")
    write_safetensors(weights, random_vit(192, 12, 16, 224, 10, 1))
    names = os.path.join(folder, "names.json")
    with open(names, "w") as f:
        json.dump({str(i): f"Klasse {i} \u00e4" for i in range(10)}, f)
    pictures = []
    for i in range(3):
        pictures.append(os.path.join(folder, f"{i}.ppm"))
        with open(pictures[-1], "wb") as f:
            pixels = np.random.default_rng(i).integers(0, 256, (240, 300, 3), np.uint8)
            f.write(b"P6 300 240 255\n" + pixels.tobytes())
    dump = os.path.join(folder, "input.npy")
    out = subprocess.run([vitro, "predict", "--weights", weights, "--device", "cpu", "--json",
                          "--logits", "--dump-input", dump, *pictures], check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    expected = np.array([json.loads(line)["logits"] for line in out.splitlines()])
    target = os.path.join(folder, "tiny.onnx")
    for options in ([], ["--external-data"]):
        convert(weights, target, "--class-indices", names, "--mean", "0.5,0.4,0.3", *options)
        model, session = load(target)
        assert os.path.exists(target + ".data") == bool(options)
        found = session.run(None, {"images": np.load(dump)})[0]
        check("tiny, 224 x 224" + (", weights beside it" if options else ""), found, expected)
        says = {p.key: p.value for p in model.metadata_props}
        assert json.loads(says["class_names"])[9] == "Klasse 9 \u00e4", says
        assert json.loads(says["mean"]) == [0.5, 0.4, 0.3], says
        assert json.loads(says["input_size"]) == [3, 224, 224], says
        assert json.loads(says["vitro"])["config"]["num_heads"] == 3, says


with tempfile.TemporaryDirectory() as folder:
    fixtures = sorted(glob.glob(os.path.join(root, "tests/golden/model/*.safetensors")))
    assert len(fixtures) >= 5, fixtures
    for fixture in fixtures:
        check_golden(fixture, folder)
    check_tiny(folder)
print("check_onnx: passed")
