#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/model/*.safetensors with PyTorch: small models of odd geometry, each with its
weights, an input, its output, its loss and the gradient of every parameter, by name.

The model is the oracle's, $VITRO_SHARED/reference/vit_model.py, evaluated in float64 from weights
that are float32, so that the limits of the test measure Vitro's rounding alone. test_golden.c reads:
  config  float64: img_size (the height) patch_size in_channels num_classes embed_dim depth num_heads mlp_ratio
          qkv_bias qk_scale representation_size patch_norm norm_eps act(1 gelu, 2 gelu_tanh) smoothing
  w.NAME  the parameter      g.NAME  its gradient
  input   [B,C,height,width] output  [B,K] float64
  loss, labels               or dout [B,K], the output's gradient, where num_classes is 0
"""
import json
import os
import struct
import sys
from functools import partial

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

here = os.path.dirname(os.path.abspath(__file__))
shared = os.environ.get("VITRO_SHARED", os.path.join(here, "..", "..", "..", "shared"))
sys.path.insert(0, os.path.join(shared, "reference"))
from vit_model import VisionTransformer  # noqa: E402

DTYPES = {"float32": "F32", "float64": "F64", "int32": "I32"}


def save(name, tensors):
    arrays = {k: np.ascontiguousarray(v.detach().numpy() if torch.is_tensor(v) else v)
              for k, v in tensors.items()}
    header, offset = {}, 0
    order = sorted(arrays, key=lambda k: (-arrays[k].dtype.itemsize, k))
    for k in order:
        header[k] = {"dtype": DTYPES[str(arrays[k].dtype)], "shape": list(arrays[k].shape),
                     "data_offsets": [offset, offset + arrays[k].nbytes]}
        offset += arrays[k].nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = os.path.join(here, "model", name + ".safetensors")
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for k in order:
            f.write(arrays[k].tobytes())
    print(path, os.path.getsize(path))


def case(name, seed, batch, img_size, patch_size, embed_dim, depth, num_heads, mlp_ratio,
         in_channels=3, num_classes=7, qkv_bias=True, qk_scale=0.0, representation_size=0,
         patch_norm=False, eps=1e-6, act="gelu", smoothing=0.0):
    height, width = img_size if isinstance(img_size, tuple) else (img_size, img_size)
    torch.manual_seed(seed)
    norm = partial(nn.LayerNorm, eps=eps)
    model = VisionTransformer(
        img_size=height, patch_size=patch_size, in_channels=in_channels, num_classes=num_classes,
        embed_dim=embed_dim, depth=depth, num_heads=num_heads, mlp_ratio=mlp_ratio,
        qkv_bias=qkv_bias, qk_scale=qk_scale or None,
        representation_size=representation_size or None, norm_layer=norm,
        act_layer=partial(nn.GELU, approximate="tanh") if act == "gelu_tanh" else nn.GELU)
    if patch_norm:
        model.patch_embed.norm = norm(embed_dim)
    if height != width:
        model.patch_embed.img_size = (height, width)
        tokens = (height // patch_size) * (width // patch_size) + 1
        model.pos_embed = nn.Parameter(torch.zeros(1, tokens, embed_dim))
    with torch.no_grad():
        for p in model.parameters():  # far from the start of training: every term counts
            p.add_(torch.randn(p.shape) * 0.2)
    images = torch.rand(batch, in_channels, height, width) * 2 - 1
    out = {"config": np.array([
        height, patch_size, in_channels, num_classes, embed_dim, depth, num_heads, mlp_ratio,
        qkv_bias, qk_scale, representation_size, patch_norm, eps, 2 if act == "gelu_tanh" else 1,
        smoothing], dtype=np.float64), "input": images}
    for key, p in model.named_parameters():
        out["w." + key] = p.detach().clone()
    model = model.double()
    output = model(images.double())
    if num_classes:
        labels = torch.randint(0, num_classes, (batch,))
        loss = F.cross_entropy(output, labels, label_smoothing=smoothing)
        loss.backward()
        out["labels"] = labels.int()
        out["loss"] = np.array([loss.item()], dtype=np.float64)
    else:
        out["dout"] = torch.randn(output.shape)
        output.backward(out["dout"].double())
    out["output"] = output.detach()
    for key, p in model.named_parameters():
        out["g." + key] = p.grad.float()
    save(name, out)


os.makedirs(os.path.join(here, "model"), exist_ok=True)
# 17 = 3*5 + 2: the last two rows and columns are dropped, as Conv2d does.
case("remainder", 1, batch=3, img_size=17, patch_size=5, embed_dim=12, depth=2, num_heads=3,
     mlp_ratio=2.5)
case("pre_logits", 2, batch=2, img_size=12, patch_size=4, embed_dim=16, depth=1, num_heads=2,
     mlp_ratio=4.0, in_channels=1, num_classes=5, qkv_bias=False, representation_size=9,
     smoothing=0.1)
case("qk_scale", 3, batch=5, img_size=9, patch_size=3, embed_dim=10, depth=3, num_heads=1,
     mlp_ratio=1.75, num_classes=2, qk_scale=0.7, eps=1e-5, act="gelu_tanh")
case("patch_norm", 4, batch=1, img_size=8, patch_size=2, embed_dim=15, depth=2, num_heads=5,
     mlp_ratio=1.0, in_channels=1, num_classes=4, patch_norm=True)
case("features", 5, batch=4, img_size=6, patch_size=3, embed_dim=14, depth=2, num_heads=7,
     mlp_ratio=2.0, num_classes=0)
case("tanh_features", 6, batch=2, img_size=6, patch_size=2, embed_dim=6, depth=2, num_heads=2,
     mlp_ratio=3.4, num_classes=0, representation_size=11, patch_norm=True, qkv_bias=False)
# Whole vectors and no remainder anywhere: the shapes that packed and blocked paths take.
case("even", 7, batch=2, img_size=8, patch_size=4, embed_dim=16, depth=2, num_heads=1,
     mlp_ratio=2.0, in_channels=1, num_classes=16)
# A one-token image: patch and picture are the same.
case("one_patch", 8, batch=2, img_size=5, patch_size=5, embed_dim=8, depth=1, num_heads=2,
     mlp_ratio=4.0, num_classes=3)
# Not square, with remainders in both directions: 2 x 4 patches.
case("wide", 9, batch=2, img_size=(9, 17), patch_size=4, embed_dim=12, depth=2, num_heads=2,
     mlp_ratio=2.0, num_classes=3)
