#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goes through every model that timm registers in vision_transformer.py and deit.py, and says which
of them Vitro's model is: by the arguments that timm gives the constructor.

    make_coverage.py             writes docs/COVERAGE.md and src/model/presets.inc
    make_coverage.py check VITRO [NAME...]
                                 builds each (or these) with random weights, of its own geometry but
                                 at most CHECK_DEPTH blocks, writes timm's state_dict, runs
                                 `VITRO predict --logits`, and compares with timm's logits
                                 (5e-5 of their spread)
    make_coverage.py result FILE the same as the first, with the check's output in FILE

Needs timm from pip, and PyTorch (made with the versions that COVERAGE.md names). Nothing is
downloaded: weights are random."""
import json
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import timm
import torch
from timm.models import deit, vision_transformer
from timm.models._registry import _model_entrypoints, _module_to_models

warnings.simplefilter("ignore")
here = os.path.dirname(os.path.abspath(__file__))
root = os.path.join(here, "..", "..")
CHECK_DEPTH = 2
LIMIT = 5e-5

DEFAULTS = dict(img_size=224, patch_size=16, num_classes=1000, global_pool="token", embed_dim=768,
                depth=12, num_heads=12, mlp_ratio=4.0, qkv_bias=True, qk_norm=False,
                proj_bias=True, init_values=None, class_token=True, no_embed_class=False,
                reg_tokens=0, pre_norm=False, final_norm=True, fc_norm=None,
                pool_include_prefix=False, distilled=False)
# arguments that change nothing of what is computed, or only in training
HARMLESS = ("weight_init", "dynamic_img_size", "dynamic_img_pad", "strict_img_size", "fix_init",
            "drop_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate",
            "drop_path_rate", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict")


FACTORY = {vision_transformer: "_create_vision_transformer", deit: "_create_deit"}


class Missing(Exception):
    pass


def name_of(value):
    value = getattr(value, "func", value)
    return getattr(value, "__name__", str(value))


def activation(value):
    names = {None: "gelu", "GELU": "gelu", "gelu": "gelu", "gelu_tanh": "gelu_tanh",
             "GELUTanh": "gelu_tanh", "quick_gelu": "quick_gelu", "QuickGELU": "quick_gelu"}
    key = value if value is None or isinstance(value, str) else name_of(value)
    if key not in names:
        raise Missing("activation %s" % key)
    return names[key]


def norm_eps(value):
    if value is None:
        return 1e-6
    if name_of(value) != "LayerNorm":
        raise Missing("%s for LayerNorm" % name_of(value))
    return getattr(value, "keywords", {}).get("eps", 1e-6)


def capture(module, entry):
    """What the entry's function hands to its module's factory: (name of the variant, arguments)."""
    out = {}
    factory = FACTORY[module]
    original = getattr(module, factory)

    def keep(variant, pretrained=False, **kwargs):
        out["variant"], out["args"] = variant, kwargs
        raise StopIteration

    setattr(module, factory, keep)
    try:
        _model_entrypoints[entry]()
    except StopIteration:
        pass
    finally:
        setattr(module, factory, original)
    return out["variant"], out["args"]


def arguments(module, entry):
    """The configuration, or Missing with what Vitro's model does not have."""
    variant, given = capture(module, entry)
    given = {k: v for k, v in given.items() if k not in HARMLESS}
    c = dict(DEFAULTS)
    lacks = []

    def take(key, default=None):
        return given.pop(key, default)

    c["distilled"] = bool(take("distilled", False))
    for key in list(given):
        if key in c:
            c[key] = given.pop(key)
    for key, what in (("block_fn", "blocks of %s"), ("mlp_layer", "an MLP of %s"),
                      ("attn_layer", "attention of kind %s"), ("embed_layer", "embedding by %s"),
                      ("embed_norm_layer", "%s behind the patch embedding")):
        value = take(key)
        if value is not None and name_of(value) not in ("Block", "Mlp", "Attention", "PatchEmbed"):
            lacks.append(what % name_of(value))
    for key, what in (("scale_attn_norm", "scale_attn_norm: a norm before attn.proj"),
                      ("scale_mlp_norm", "scale_mlp_norm: a norm before mlp.fc2")):
        if take(key, False):
            lacks.append(what)
    for key, read in (("act_layer", activation), ("norm_layer", norm_eps)):
        try:
            c[key] = read(take(key))
        except Missing as e:
            lacks.append(str(e))
    if given:
        lacks.append("argument " + ", ".join(sorted(given)))
    if c["global_pool"] not in ("token", "avg", "map"):
        lacks.append("global_pool %s" % c["global_pool"])
    if c["fc_norm"] is None:
        c["fc_norm"] = c["global_pool"] in ("avg", "avgmax", "max")
    size = timm.get_pretrained_cfg(variant)
    if "img_size" not in capture(module, entry)[1] and size is not None:
        c["img_size"] = size.input_size[-1]
        c["num_classes"] = size.num_classes
    elif size is not None:
        c["num_classes"] = size.num_classes
    if isinstance(c["img_size"], tuple):
        if c["img_size"][0] != c["img_size"][1]:
            lacks.append("pictures that are not square")
        c["img_size"] = c["img_size"][0]
    if lacks:
        raise Missing("; ".join(lacks))
    return c


def entries():
    for module, key in ((vision_transformer, "vision_transformer"), (deit, "deit")):
        for entry in sorted(_module_to_models[key]):
            yield module, entry


# ---- what is written ---------------------------------------------------------------------------

# The original's and CIFAR's, which config.c has by hand.
OWN = ("vit_base_patch16_224_in21k vit_base_patch32_224_in21k vit_large_patch16_224_in21k "
       "vit_large_patch32_224_in21k vit_huge_patch14_224_in21k vit_tiny_patch16_224 "
       "vit_small_patch16_224 vit_base_patch16_224 vit_base_patch32_224 vit_large_patch16_224 "
       "vit_large_patch32_224 vit_huge_patch14_224").split()


def preset_row(name, c):
    flags = []
    if not c["qkv_bias"]:
        flags.append("NO_QKV_BIAS")
    for key, flag in (("no_embed_class", "NO_EMBED_CLASS"), ("pre_norm", "PRE_NORM"),
                      ("fc_norm", "FC_NORM"), ("pool_include_prefix", "INCLUDE_PREFIX"),
                      ("qk_norm", "QK_NORM"), ("distilled", "DISTILLED")):
        if c[key]:
            flags.append(flag)
    for key, flag in (("class_token", "NO_CLASS"), ("proj_bias", "NO_PROJ_BIAS"),
                      ("final_norm", "NO_FINAL_NORM")):
        if not c[key]:
            flags.append(flag)
    if c["global_pool"] != "token":
        flags.append(c["global_pool"].upper())
    if c["act_layer"] != "gelu":
        flags.append(c["act_layer"].upper())
    if c["norm_layer"] == 1e-5:
        flags.append("EPS_5")
    elif c["norm_layer"] != 1e-6:
        raise SystemExit("%s: eps %g has no flag" % (name, c["norm_layer"]))
    row = '{"%s", %d, %d, %d, %d, %d, %d, %s, %s, %d,' % (
        name, c["img_size"], c["patch_size"], c["num_classes"], c["embed_dim"], c["depth"],
        c["num_heads"], repr(float(c["mlp_ratio"])), repr(float(c["init_values"] or 0)),
        c["reg_tokens"])
    flags = " | ".join(flags) or "0"
    return row + (" " if len(row) + len(flags) < 97 else "\n ") + flags + "},\n"


def features(c):
    words = []
    if not c["class_token"]:
        words.append("no class token")
    if c["distilled"]:
        words.append("distilled")
    if c["reg_tokens"]:
        words.append("%d registers" % c["reg_tokens"])
    if c["no_embed_class"]:
        words.append("no_embed_class")
    if c["pre_norm"]:
        words.append("pre_norm")
    if c["init_values"]:
        words.append("LayerScale")
    if c["global_pool"] != "token":
        words.append(c["global_pool"] + (", fc_norm" if c["fc_norm"] else ""))
    if not c["final_norm"]:
        words.append("no final norm")
    if c["act_layer"] != "gelu":
        words.append(c["act_layer"])
    return ", ".join(words)


def write(results):
    rows, presets, yes, total = [], [], 0, 0
    for module, entry in entries():
        total += 1
        try:
            c = arguments(module, entry)
        except Missing as e:
            rows.append("| `%s` | no | %s |\n" % (entry, e))
            continue
        yes += 1
        if entry not in OWN:
            presets.append(preset_row(entry, c))
        found = results.get(entry)
        how = "" if found is None else " (%s)" % found
        rows.append("| `%s` | yes%s | %s |\n" % (entry, how, features(c)))
    with open(os.path.join(root, "src", "model", "presets.inc"), "w") as f:
        f.write("/* SPDX-License-Identifier: Apache-2.0 */\n"
                "/* timm's models that are plain ViTs, made by tests/golden/make_coverage.py: name,\n"
                " * side, patch, classes, width, depth, heads, mlp_ratio, init_values, reg_tokens,\n"
                " * and what config.c says of it. */\n"
                "/* clang-format off */\n")
        f.writelines(presets)
        f.write("/* clang-format on */\n")
    checked = [v for v in results.values()]
    with open(os.path.join(root, "docs", "COVERAGE.md"), "w") as f:
        f.write("# timm's models\n\n"
                "All names that timm %s registers in `vision_transformer.py` and `deit.py`, and whether "
                "Vitro's\nmodel is theirs; made by `tests/golden/make_coverage.py`. %d of %d are. Where it "
                "says yes, the name\nis a preset (`--model-name`), with or without a pretrained tag behind "
                "a dot, and timm's state_dict\nloads as it is.\n\n" % (timm.__version__, yes, total))
        if checked:
            f.write("In brackets: how far Vitro's logits (float32, `cpu`) are from timm's (PyTorch %s), "
                    "as a share of\ntheir spread, with random weights at the model's own width, heads, "
                    "patches and picture, and at most\n%d blocks; %d models were run, the worst is %s.\n\n"
                    % (torch.__version__.split("+")[0], CHECK_DEPTH, len(checked),
                       max(checked, key=float)))
        f.write("| name | | what it has, or lacks here |\n|---|---|---|\n")
        f.writelines(rows)
    print("%d of %d" % (yes, total))


# ---- the check ---------------------------------------------------------------------------------

def randomise(model, seed):
    """Far from the start of training: every term counts."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith(("norm1.weight", "norm2.weight", "norm.weight", "norm_pre.weight",
                              "_norm.weight", "gamma")):
                p.copy_(1 + 0.2 * torch.randn(p.shape, generator=g))
            elif p.dim() > 1 and "token" not in name and "pos" not in name and "latent" not in name:
                fan = p[0].numel()
                p.copy_(torch.randn(p.shape, generator=g) * fan ** -0.5)
            else:
                p.copy_(torch.randn(p.shape, generator=g) * 0.2)


def write_safetensors(path, tensors):
    header, blobs, at = {}, [], 0
    for name, t in tensors.items():
        a = t.detach().numpy().astype("<f4")
        header[name] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        blobs.append(a.tobytes())
        at += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for b in blobs:
            f.write(b)


def check_one(vitro, module, entry, c, folder):
    depth = min(c["depth"], CHECK_DEPTH)
    classes = 10 if c["num_classes"] else 0
    variant, args = capture(module, entry)
    args = {k: v for k, v in args.items() if not k.startswith("pretrained")}
    args.update(num_classes=classes, depth=depth, img_size=c["img_size"])
    create = getattr(module, FACTORY[module])
    model = create(variant, pretrained=False, **args)
    model.eval()
    randomise(model, 1)
    side = c["img_size"]
    pixels = np.random.default_rng(2).integers(0, 256, (side, side, 3), dtype=np.uint8)
    with open(os.path.join(folder, "a.ppm"), "wb") as f:
        f.write(b"P6\n%d %d\n255\n" % (side, side) + pixels.tobytes())
    images = (torch.from_numpy(pixels.astype("f4").transpose(2, 0, 1)[None]) / 255 - 0.5) / 0.5
    with torch.no_grad():
        want = model(images)[0].double().numpy()
    weights = os.path.join(folder, "w.safetensors")
    write_safetensors(weights, model.state_dict())
    run = subprocess.run([vitro, "predict", "--weights", weights, "--model-name", entry, "--depth",
                          str(depth), "--img-size", str(side), "--transform", "hf", "--logits", "--json",
                          os.path.join(folder, "a.ppm")], capture_output=True, text=True)
    if run.returncode:
        return run.stderr.strip()
    line = json.loads(run.stdout.splitlines()[0])
    got = np.array(line["logits"] if classes else line["features"])
    return float(np.abs(got - want).max() / want.std())


def check(vitro, names):
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for module, entry in entries():
            if names and entry not in names:
                continue
            try:
                c = arguments(module, entry)
            except Missing:
                continue
            error = check_one(vitro, module, entry, c, folder)
            ok = isinstance(error, float) and error <= LIMIT
            failed += not ok
            print("%s %s %s" % ("ok" if ok else "FAILED", entry,
                                "%.1e" % error if isinstance(error, float) else error), flush=True)
    return failed


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "check":
        sys.exit(1 if check(sys.argv[2], sys.argv[3:]) else 0)
    found = {}
    if len(sys.argv) > 2 and sys.argv[1] == "result":
        for line in open(sys.argv[2]):
            state, name, error = line.split(None, 2)
            if state == "ok":
                found[name] = error.strip()
    write(found)
