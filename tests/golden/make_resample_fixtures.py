#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/model/resample.safetensors: position embeddings resampled for other grids, and
patch embeddings for other patch sizes, by the libraries whose rules these are. test_resample.c reads

  pos/RULE/N/in  [rows,cols,D]   pos/RULE/N/out    RULE: timm, hf, torchvision, google, timm-npz
  patch/RULE/N/in  [n,P,P]       patch/RULE/N/out  RULE: timm, timm-npz

Run it from the root of the repository with timm, transformers, torchvision, scipy and safetensors from
PyPI; the file's metadata say which versions were used.
"""
import numpy as np
import safetensors.numpy
import scipy
import scipy.ndimage
import timm
import torch
import torch.nn.functional as F
import torchvision
import transformers
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from torchvision.models.vision_transformer import interpolate_embeddings
from transformers.models.vit.modeling_vit import ViTEmbeddings

GRIDS = [((14, 14), (24, 24)), ((24, 24), (14, 14)), ((14, 14), (16, 20)), ((7, 9), (9, 7)),
         ((1, 6), (1, 14)), ((6, 1), (13, 1)), ((1, 1), (5, 3)), ((5, 5), (1, 1)),
         ((8, 8), (24, 24)), ((5, 5), (35, 25)), ((32, 32), (7, 7)), ((3, 4), (4, 3)),
         ((14, 14), (14, 28)), ((2, 2), (3, 3))]
PATCHES = [(16, 32), (32, 16), (16, 14), (14, 16), (16, 8), (3, 7), (7, 3), (1, 4), (4, 1)]
D = 2
torch.manual_seed(20231123)


def by_timm(grid, old, new, **kw):
    tokens = grid.reshape(1, -1, D)
    return resample_abs_pos_embed(tokens, list(new), list(old), num_prefix_tokens=0, **kw)


def by_hugging_face(grid, old, new):
    if old[0] != old[1]:  # the library assumes a square; this is its call
        return F.interpolate(grid.permute(2, 0, 1)[None], size=new, mode="bicubic",
                             align_corners=False)[0].permute(1, 2, 0)
    config = transformers.ViTConfig(hidden_size=D, num_attention_heads=1, patch_size=2,
                                    image_size=2 * old[0])
    embeddings = ViTEmbeddings(config)
    with torch.no_grad():
        embeddings.position_embeddings[0, 1:] = grid.reshape(-1, D)
        tokens = torch.zeros(1, new[0] * new[1] + 1, D)
        return embeddings.interpolate_pos_encoding(tokens, 2 * new[0], 2 * new[1])[:, 1:]


def by_torchvision(grid, old, new):
    if old[0] != old[1] or new[0] != new[1]:
        return None  # squares alone
    tokens = torch.cat([torch.zeros(1, 1, D), grid.reshape(1, -1, D)], dim=1)
    state = {"encoder.pos_embedding": tokens}
    return interpolate_embeddings(2 * new[0], 2, state)["encoder.pos_embedding"][:, 1:]


def by_google(grid, old, new):  # google-research/vision_transformer, checkpoint.py
    zoom = (new[0] / old[0], new[1] / old[1], 1)
    return torch.from_numpy(scipy.ndimage.zoom(grid.numpy(), zoom, order=1))


def by_timm_npz(grid, old, new):
    return by_timm(grid, old, new, interpolation="bilinear", antialias=False)


def main():
    out = {}

    def put(key, old, new):
        out[key + "/in"] = old.numpy().copy()
        out[key + "/out"] = new.numpy().copy()

    rules = {"timm": by_timm, "hf": by_hugging_face, "torchvision": by_torchvision,
             "google": by_google, "timm-npz": by_timm_npz}
    for name, rule in rules.items():
        for n, (old, new) in enumerate(GRIDS):
            grid = torch.randn(*old, D)
            result = rule(grid, old, new)
            if result is not None:
                put(f"pos/{name}/{n}", grid, result.reshape(*new, D))
    for name, kw in (("timm", {}), ("timm-npz", dict(interpolation="bilinear", antialias=False))):
        for n, (old, new) in enumerate(PATCHES):
            filters = torch.randn(1, 1, old, old)
            result = resample_patch_embed(filters, [new, new], **kw)
            put(f"patch/{name}/{n}", filters[:, 0], result[:, 0])
    versions = ", ".join(f"{m.__name__} {m.__version__}" for m in
                         (timm, transformers, torch, torchvision, scipy, np))
    safetensors.numpy.save_file(out, "tests/golden/model/resample.safetensors",
                                metadata={"versions": versions})
    print(versions)


main()
