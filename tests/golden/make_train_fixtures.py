#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/train/*.safetensors with PyTorch: schedules, clipping, optimizers, and runs of
a small ViT. The model is the oracle's, $VITRO_SHARED/reference/vit_model.py."""
import json
import math
import os
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

here = os.path.dirname(os.path.abspath(__file__))
shared = os.environ.get("VITRO_SHARED", os.path.join(here, "..", "..", "..", "shared"))
sys.path.insert(0, os.path.join(shared, "reference"))
from vit_model import VisionTransformer  # noqa: E402

torch.set_num_threads(1)
DTYPES = {"float32": "F32", "float64": "F64", "uint8": "U8", "int32": "I32"}


def save(name, tensors):
    """The safetensors format by hand: the package is not in Debian 12."""
    arrays = {k: np.ascontiguousarray(v.detach().numpy() if torch.is_tensor(v) else v)
              for k, v in tensors.items()}
    header, offset = {}, 0
    order = sorted(arrays, key=lambda k: (-arrays[k].dtype.itemsize, k))
    for k in order:
        a = arrays[k]
        header[k] = {"dtype": DTYPES[str(a.dtype)], "shape": list(a.shape),
                     "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = os.path.join(here, "train", name + ".safetensors")
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for k in order:
            f.write(arrays[k].tobytes())
    print(path, os.path.getsize(path))


def schedules():
    out = {}
    for name, lr, lrf, epochs in [("a", 0.001, 0.01, 20), ("b", 0.05, 0.3, 7), ("c", 1e-4, 0, 1)]:
        def lf(x):
            return ((1 + math.cos(x * math.pi / epochs)) / 2) * (1 - lrf) + lrf
        opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
        sched = torch.optim.lr_scheduler.LambdaLR(opt, lr_lambda=lf)
        rates = []
        for _ in range(epochs + 1):
            rates.append(opt.param_groups[0]["lr"])
            opt.step()
            sched.step()
        out[name] = np.array(rates, dtype=np.float64)
        out[name + ".settings"] = np.array([lr, lrf, epochs], dtype=np.float64)
    return out


def optimizers():
    g = torch.Generator().manual_seed(1)
    n, steps = 67, 6
    start = torch.randn(n, generator=g)
    grads = torch.randn(steps, n, generator=g) * torch.rand(n, generator=g) * 0.1
    out = {"start": start, "grads": grads}
    for name, make in [
            ("sgd", lambda p: torch.optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=5e-5)),
            ("sgd_plain", lambda p: torch.optim.SGD([p], lr=0.1)),
            ("adamw", lambda p: torch.optim.AdamW([p], lr=0.01, betas=(0.8, 0.95), eps=1e-6,
                                                  weight_decay=0.05))]:
        p = start.clone().requires_grad_()
        opt = make(p)
        rows = []
        for s in range(steps):
            p.grad = grads[s].clone()
            opt.step()
            rows.append(p.detach().clone())
        out[name] = torch.stack(rows)
    return out


def clipping():
    """Gradients' sums of squares and what clip_grad_norm_ multiplies each gradient with."""
    g = torch.Generator().manual_seed(2)
    rows = []
    for max_norm, size in [(1.0, 10.0), (1.0, 0.01), (0.5, 0.07), (3.0, 1e-6)]:
        ps = [torch.zeros(s, dtype=torch.float64, requires_grad=True)
              for s in [(5, 7), (11,)]]
        for p in ps:
            p.grad = torch.randn(p.shape, generator=g, dtype=torch.float64) * size
        before = [p.grad.clone() for p in ps]
        squares = sum((b * b).sum().item() for b in before)
        torch.nn.utils.clip_grad_norm_(ps, max_norm)
        rows.append([squares, max_norm, (ps[0].grad[0, 0] / before[0][0, 0]).item()])
    return {"clip": np.array(rows, dtype=np.float64)}


SMALL = dict(img_size=10, patch_size=4, in_channels=3, num_classes=5, embed_dim=8, depth=2,
             num_heads=2, mlp_ratio=2.5, qkv_bias=True, representation_size=6)


def small_model(seed):
    torch.manual_seed(seed)
    model = VisionTransformer(**SMALL)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape) * 0.15)
    return model


def small_batches(seed, batches, size, partial):
    g = torch.Generator().manual_seed(seed)
    n = (batches - 1) * size + partial
    images = torch.randint(0, 256, (n, 3, 10, 10), generator=g, dtype=torch.uint8)
    labels = torch.randint(0, 5, (n,), generator=g)
    return images, labels


def to_input(images):
    return (images.float().div(255) - 0.5) / 0.5


def run(optimizer, batches=10, size=4, partial=4, smoothing=0.0, clip=0.0, accumulate=1,
        freeze=False):
    model = small_model(3)
    images, labels = small_batches(4, batches, size, partial)
    out = {"images": images, "labels": labels.int()}
    for name, p in model.named_parameters():
        out["start." + name] = p.detach().clone()
        if freeze and "head" not in name and "pre_logits" not in name:
            p.requires_grad_(False)
    opt = optimizer([p for p in model.parameters() if p.requires_grad])
    losses, correct = [], []
    for b in range(batches):
        x, y = to_input(images[b * size:(b + 1) * size]), labels[b * size:(b + 1) * size]
        if b % accumulate == 0:
            opt.zero_grad()
        group = min(accumulate, batches - b // accumulate * accumulate)
        logits = model(x)
        loss = F.cross_entropy(logits, y, label_smoothing=smoothing)
        (loss / group).backward()
        losses.append(loss.item())
        correct.append((logits.argmax(1) == y).sum().item())
        if b == 0:
            for name, p in model.named_parameters():
                if p.requires_grad:
                    out["grad." + name] = p.grad.clone()
        if b % accumulate == group - 1:
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            opt.step()
    out["losses"] = np.array(losses, dtype=np.float64)
    out["correct"] = np.array(correct, dtype=np.int32)
    for name, p in model.named_parameters():
        if p.requires_grad:
            out["end." + name] = p.detach().clone()
    return out


def sgd(params):
    return torch.optim.SGD(params, lr=0.05, momentum=0.9, weight_decay=5e-5)


def adamw(params):
    # The gradient of the keys' bias is zero but for rounding: a large eps keeps Adam from
    # dividing this noise by its own size.
    return torch.optim.AdamW(params, lr=0.01, betas=(0.9, 0.95), eps=1e-5, weight_decay=0.05)


os.makedirs(os.path.join(here, "train"), exist_ok=True)
save("numbers", {**schedules(), **clipping(), **optimizers()})
save("run_sgd", run(sgd))
save("run_adamw", run(adamw, smoothing=0.1, clip=0.5, accumulate=4, partial=3))
save("run_frozen", run(sgd, freeze=True))
