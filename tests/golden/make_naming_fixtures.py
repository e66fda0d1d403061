#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/model/names_*.npz: one tiny ViT under the names and layouts of several programs.

names_timm.npz is what test_keymap.c expects the others to become."""
import os

import numpy as np

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model")
D, H, M, K, P, C, T, R = 8, 2, 12, 3, 4, 3, 5, 6
rng = np.random.default_rng(3)


def draw(*shape):
    return rng.integers(-128, 128, shape).astype("f4") / 64


timm = {"cls_token": draw(1, 1, D), "pos_embed": draw(1, T, D),
        "patch_embed.proj.weight": draw(D, C, P, P), "patch_embed.proj.bias": draw(D)}
for i in range(2):
    for name, shape in (("norm1.weight", (D,)), ("norm1.bias", (D,)),
                        ("attn.qkv.weight", (3 * D, D)), ("attn.qkv.bias", (3 * D,)),
                        ("attn.proj.weight", (D, D)), ("attn.proj.bias", (D,)),
                        ("norm2.weight", (D,)), ("norm2.bias", (D,)),
                        ("mlp.fc1.weight", (M, D)), ("mlp.fc1.bias", (M,)),
                        ("mlp.fc2.weight", (D, M)), ("mlp.fc2.bias", (D,))):
        timm["blocks.%d.%s" % (i, name)] = draw(*shape)
timm.update({"norm.weight": draw(D), "norm.bias": draw(D),
             "pre_logits.fc.weight": draw(R, D), "pre_logits.fc.bias": draw(R),
             "head.weight": draw(K, R), "head.bias": draw(K)})
np.savez(os.path.join(here, "names_timm.npz"), **timm)

# Flax: kernels [in..., out...]; attention [D,H,D/H] in and [H,D/H,D] out.
flax = {"cls": timm["cls_token"], "Transformer/posembed_input/pos_embedding": timm["pos_embed"],
        "embedding/kernel": timm["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": timm["patch_embed.proj.bias"],
        "Transformer/encoder_norm/scale": timm["norm.weight"],
        "Transformer/encoder_norm/bias": timm["norm.bias"],
        "pre_logits/kernel": timm["pre_logits.fc.weight"].T,
        "pre_logits/bias": timm["pre_logits.fc.bias"],
        "head/kernel": timm["head.weight"].T, "head/bias": timm["head.bias"]}
# Hugging Face: q, k and v apart, a pooler that nobody uses; no pre_logits.
hf = {"vit.embeddings.cls_token": timm["cls_token"],
      "vit.embeddings.position_embeddings": timm["pos_embed"],
      "vit.embeddings.patch_embeddings.projection.weight": timm["patch_embed.proj.weight"],
      "vit.embeddings.patch_embeddings.projection.bias": timm["patch_embed.proj.bias"],
      "vit.layernorm.weight": timm["norm.weight"], "vit.layernorm.bias": timm["norm.bias"],
      "vit.pooler.dense.weight": draw(D, D), "vit.pooler.dense.bias": draw(D)}
for i in range(2):
    b = {k[len("blocks.%d." % i):]: v for k, v in timm.items() if k.startswith("blocks.%d." % i)}
    f, h = "Transformer/encoderblock_%d/" % i, "vit.encoder.layer.%d." % i
    a = f + "MultiHeadDotProductAttention_1/"
    for j, part in enumerate(("query", "key", "value")):
        w, c = b["attn.qkv.weight"][j * D:(j + 1) * D], b["attn.qkv.bias"][j * D:(j + 1) * D]
        flax[a + part + "/kernel"] = w.T.reshape(D, H, D // H)
        flax[a + part + "/bias"] = c.reshape(H, D // H)
        hf[h + "attention.attention.%s.weight" % part] = w
        hf[h + "attention.attention.%s.bias" % part] = c
    flax[a + "out/kernel"] = b["attn.proj.weight"].T.reshape(H, D // H, D)
    flax[a + "out/bias"] = b["attn.proj.bias"]
    for ours, theirs in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
        flax[f + theirs + "/scale"] = b[ours + ".weight"]
        flax[f + theirs + "/bias"] = b[ours + ".bias"]
    for ours, theirs in (("mlp.fc1", "Dense_0"), ("mlp.fc2", "Dense_1")):
        flax[f + "MlpBlock_3/" + theirs + "/kernel"] = b[ours + ".weight"].T
        flax[f + "MlpBlock_3/" + theirs + "/bias"] = b[ours + ".bias"]
    for ours, theirs in (("norm1", "layernorm_before"), ("norm2", "layernorm_after"),
                         ("attn.proj", "attention.output.dense"), ("mlp.fc1", "intermediate.dense"),
                         ("mlp.fc2", "output.dense")):
        hf[h + theirs + ".weight"] = b[ours + ".weight"]
        hf[h + theirs + ".bias"] = b[ours + ".bias"]
np.savez(os.path.join(here, "names_flax.npz"), **flax)
np.savez(os.path.join(here, "names_huggingface.npz"), **hf)
np.savez(os.path.join(here, "names_huggingface_bare.npz"),
         **{k[len("vit."):]: v for k, v in hf.items()})

torchvision = {"class_token": "cls_token", "conv_proj": "patch_embed.proj",
               "encoder.pos_embedding": "pos_embed", "encoder.ln": "norm",
               "heads.pre_logits": "pre_logits.fc", "heads.head": "head"}
for old in (False, True):
    out = {}
    mlp = ("mlp.linear_1", "mlp.linear_2") if old else ("mlp.0", "mlp.3")
    for name, ours in torchvision.items():
        for s in ("", ".weight", ".bias"):
            if ours + s in timm:
                out[name + s] = timm[ours + s]
    for i in range(2):
        t, b = "encoder.layers.encoder_layer_%d." % i, "blocks.%d." % i
        for theirs, ours in (("ln_1", "norm1"), ("ln_2", "norm2"), (mlp[0], "mlp.fc1"),
                             (mlp[1], "mlp.fc2"), ("self_attention.out_proj", "attn.proj")):
            for s in (".weight", ".bias"):
                out[t + theirs + s] = timm[b + ours + s]
        for s in ("weight", "bias"):
            out[t + "self_attention.in_proj_" + s] = timm[b + "attn.qkv." + s]
    np.savez(os.path.join(here, "names_torchvision%s.npz" % ("_old" if old else "")), **out)
