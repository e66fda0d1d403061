#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/model/flops.txt: what fvcore and PyTorch count on the original's model.

    make_flops_fixtures.py FOLDER_OF_VIT_MODEL_PY          (needs fvcore: pip install fvcore)

One paragraph per model:

    model IMG PATCH CHANNELS CLASSES WIDTH DEPTH HEADS MLP_RATIO QKV_BIAS PRE_LOGITS PATCH_NORM BATCH
    params ALL FROZEN            FROZEN: what --freeze-layers leaves to train
    flops CONV LINEAR MATMUL LAYER_NORM
    module NAME FLOPS            of every module that counts something; of models with more than
                                 three blocks only the first and the last block; "." is the model
"""
import logging
import os
import sys
import warnings
from functools import partial

import torch
from fvcore.nn import FlopCountAnalysis

for init in ("trunc_normal_", "kaiming_normal_"):
    setattr(torch.nn.init, init, lambda tensor, **how: tensor)  # values do not count
sys.path.insert(0, sys.argv[1])
import vit_model  # noqa: E402

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

#          img patch C  K     D    L   H  ratio qkv R    patch_norm batch
MODELS = [(224, 16, 3, 5, 768, 12, 12, 4.0, 1, 0, 0, 1),
          (224, 32, 3, 5, 768, 12, 12, 4.0, 1, 0, 0, 1),
          (224, 32, 3, 5, 768, 12, 12, 4.0, 1, 0, 0, 32),
          (224, 32, 3, 21843, 768, 12, 12, 4.0, 1, 768, 0, 1),
          (224, 16, 3, 5, 1024, 24, 16, 4.0, 1, 0, 0, 1),
          (224, 32, 3, 5, 1024, 24, 16, 4.0, 1, 0, 0, 1),
          (224, 14, 3, 5, 1280, 32, 16, 4.0, 1, 0, 0, 1),
          # a remainder of the picture, one channel, no bias, pre_logits, a norm of the patches
          (35, 8, 1, 7, 24, 2, 3, 2.5, 0, 10, 1, 3),
          # one patch, one block, one head, features only
          (9, 9, 2, 0, 5, 1, 1, 1.3, 1, 0, 0, 2),
          (30, 7, 3, 0, 12, 3, 4, 3.0, 1, 20, 1, 5),
          (32, 4, 3, 100, 192, 12, 3, 4.0, 1, 0, 0, 64)]


def build(img, patch, chans, classes, width, depth, heads, ratio, qkv, rep, patch_norm):
    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    embed = partial(vit_model.PatchEmbed, norm_layer=norm if patch_norm else None)
    return vit_model.VisionTransformer(
        img_size=img, patch_size=patch, in_channels=chans, num_classes=classes, embed_dim=width,
        depth=depth, num_heads=heads, mlp_ratio=ratio, qkv_bias=bool(qkv),
        representation_size=rep or None, embed_layer=embed).eval()


def wanted(name, depth):
    if depth <= 3 or not name.startswith("blocks."):
        return True
    return name.split(".")[1] in ("0", str(depth - 1))


here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "model", "flops.txt"), "w") as out:
    for row in MODELS:
        model, (img, chans, depth, batch) = build(*row[:-1]), (row[0], row[2], row[5], row[-1])
        count = FlopCountAnalysis(model, torch.zeros(batch, chans, img, img))
        count.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        by_operator = count.by_operator()
        named = [(n, p.numel()) for n, p in model.named_parameters()]
        print("model", *row, file=out)
        print("params", sum(c for _, c in named),
              sum(c for n, c in named if "head" in n or "pre_logits" in n), file=out)
        print("flops", *(by_operator[k] for k in ("conv", "linear", "matmul", "layer_norm")),
              file=out)
        assert count.total() == sum(by_operator.values())
        for name, flops in count.by_module().items():
            if flops and wanted(name, depth):
                print("module", name or ".", flops, file=out)
