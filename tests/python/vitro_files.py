# SPDX-License-Identifier: Apache-2.0
"""What the checks of this folder share: small weight files, pictures, and the program."""
import json
import os
import subprocess

import numpy as np


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


def random_vit(D, depth, P, H, W, K, seed, qkv_bias=True):
    """A ViT's tensors under timm's names. K 0: no head."""
    r = np.random.default_rng(seed)

    def w(*shape):
        return r.normal(0, 0.05, shape).astype(np.float32)

    t = {"cls_token": w(1, 1, D), "pos_embed": w(1, (H // P) * (W // P) + 1, D),
         "patch_embed.proj.weight": w(D, 3, P, P), "patch_embed.proj.bias": w(D)}
    for i in range(depth):
        b = f"blocks.{i}."
        t |= {b + "norm1.weight": 1 + w(D), b + "norm1.bias": w(D),
              b + "attn.qkv.weight": w(3 * D, D)}
        t |= {b + "attn.qkv.bias": w(3 * D)} if qkv_bias else {}
        t |= {b + "attn.proj.weight": w(D, D), b + "attn.proj.bias": w(D),
              b + "norm2.weight": 1 + w(D), b + "norm2.bias": w(D),
              b + "mlp.fc1.weight": w(4 * D, D), b + "mlp.fc1.bias": w(4 * D),
              b + "mlp.fc2.weight": w(D, 4 * D), b + "mlp.fc2.bias": w(D)}
    t |= {"norm.weight": 1 + w(D), "norm.bias": w(D)}
    return t | ({"head.weight": w(K, D), "head.bias": w(K)} if K else {})


def write_pictures(folder, count, height=61, width=80):
    paths = []
    for i in range(count):
        paths.append(os.path.join(folder, f"{i}.ppm"))
        with open(paths[-1], "wb") as f:
            pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
            f.write(f"P6 {width} {height} 255\n".encode() + pixels.tobytes())
    return paths


def run(*command):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, (command, done.stderr.decode())
    return done.stdout


def predict(vitro, weights, pictures, folder, *options):
    """Inputs and outputs of `vitro predict`."""
    dump = os.path.join(folder, "input.npy")
    out = run(vitro, "predict", "--weights", weights, "--device", "cpu", "--json", "--logits",
              "--dump-input", dump, *options, *pictures)
    rows = [json.loads(line) for line in out.splitlines()]
    return np.load(dump), np.array([r.get("logits", r.get("features")) for r in rows])


def check(what, found, expected, limit):
    assert found.shape == expected.shape, (what, found.shape, expected.shape)
    error = np.abs(found - expected).max() / expected.std()
    print(f"{what}: {error:.2e} of the spread")
    assert error <= limit, what
