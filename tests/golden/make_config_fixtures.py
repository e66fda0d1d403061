#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/configs: small random models as transformers and timm save them, each with the
configuration files that it comes with, and expected.txt: what the libraries' own transforms and models
give for a picture. test_sidecar.c reads its lines

  WEIGHTS HEIGHT WIDTH PICTURE K LOGIT*K

WEIGHTS is a file or a folder; HEIGHT and WIDTH are 0 where the model is run at its own size, else the
position embedding is resampled. Run it from the root of the repository with timm, transformers,
torchvision and Pillow from PyPI; the first line of expected.txt says which versions were used.
"""
import argparse
import copy
import pathlib
import shutil

import PIL
import timm
import torch
import transformers
from PIL import Image
from timm.data import create_transform, resolve_data_config
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

OUT = pathlib.Path("tests/golden/configs")
PICTURE = "kind6_8.png"
picture = Image.open(pathlib.Path("tests/golden/image") / PICTURE).convert("RGB")
lines = [f"# timm {timm.__version__}, transformers {transformers.__version__}, "
         f"torch {torch.__version__}, Pillow {PIL.__version__}\n"]


def stir(model):
    """Far from the start of training: every term counts."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape) * 0.3)
    return model.eval()


def expect(weights, size, logits):
    values = " ".join(f"{v:.9g}" for v in logits.flatten().tolist())
    lines.append(f"{weights} {size[0]} {size[1]} {PICTURE} {logits.numel()} {values}\n")


def hugging_face(name, processor, sizes=(), **config):
    torch.manual_seed(len(lines))
    names = {0: "cat", 1: "dog", 2: "a bird"}
    model = stir(transformers.ViTForImageClassification(transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=20,
        patch_size=8, id2label=names, label2id={v: k for k, v in names.items()}, **config)))
    model.save_pretrained(OUT / name)
    processor.save_pretrained(OUT / name)
    with torch.no_grad():
        pixels = processor(picture, return_tensors="pt")["pixel_values"]
        expect(name, (0, 0), model(pixels).logits)
        for height, width in sizes:
            pixels = processor(picture, return_tensors="pt",
                               size={"height": height, "width": width})["pixel_values"]
            expect(name, (height, width), model(pixels, interpolate_pos_encoding=True).logits)


SMALL = dict(img_size=32, patch_size=8, embed_dim=8, depth=1, num_heads=2, mlp_ratio=2.5)


def of_timm(name, sizes=(), labels=None, **cfg):
    torch.manual_seed(len(lines))
    model = stir(timm.create_model("vit_tiny_patch16_224", num_classes=3, **SMALL))
    model.pretrained_cfg.update(cfg)
    timm.models.save_for_hf(model, OUT / name, safe_serialization=True, model_config=labels,
                            model_args=SMALL)
    with torch.no_grad():
        for size in ((0, 0), *sizes):
            config = resolve_data_config({}, model=model)
            sized, config["input_size"] = model, (3, 32, 32)  # as the model has it when it is loaded again
            if size[0]:
                sized = copy.deepcopy(model)
                sized.set_input_size(img_size=size)
                config["input_size"] = (3, *size)
            expect(name, size, sized(create_transform(**config)(picture)[None]))


def timm_training(name, **args):
    """As timm's train.py saves a checkpoint."""
    torch.manual_seed(len(lines))
    model = stir(timm.create_model("vit_tiny_patch16_224", num_classes=3, **SMALL))
    args = argparse.Namespace(model="vit_tiny_patch16_224", num_classes=3, model_kwargs=SMALL,
                              data_dir="/data", lr=0.1, drop=0.0, seed=42, **args)
    torch.save({"epoch": 3, "arch": "vit_tiny_patch16_224", "state_dict": model.state_dict(),
                "optimizer": {"state": {}, "param_groups": []}, "version": 2, "args": args,
                "metric": 71.5}, OUT / name)
    with torch.no_grad():
        config = resolve_data_config(vars(args), model=model)
        expect(name, (0, 0), model(create_transform(**config)(picture)[None]))


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    hugging_face("hf", ViTImageProcessorPil(size={"height": 32, "width": 32}), [(48, 48), (40, 72)],
                 image_size=32, hidden_act="gelu_new", layer_norm_eps=1e-5)
    hugging_face("hf_crop", DeiTImageProcessorPil(
        size={"height": 38, "width": 38}, crop_size={"height": 32, "width": 32}, resample=3,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]),
        image_size=32, hidden_act="gelu", qkv_bias=False)
    hugging_face("hf_wide", ViTImageProcessorPil(
        size={"height": 24, "width": 40}, resample=1, rescale_factor=1 / 127.5, image_mean=[1, 1, 1],
        image_std=[1, 1.5, 2]), image_size=(24, 40), hidden_act="gelu_pytorch_tanh")
    of_timm("timm", [(48, 48), (40, 72)], dict(label_names=["n01", "n02", "n03"],
            label_descriptions={"n01": "tench", "n03": "great white shark"}))
    of_timm("timm_squash", crop_mode="squash", crop_pct=0.95, interpolation="bilinear",
            mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    of_timm("timm_border", crop_mode="border", crop_pct=1.0, mean=(0.2, 0.4, 0.6))
    timm_training("training.pth", img_size=32, input_size=None, crop_pct=0.8, mean=None,
                  std=[0.25, 0.25, 0.25], interpolation="bilinear", crop_mode=None, in_chans=None)
    (OUT / "expected.txt").write_text("".join(lines))
    for path in OUT.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


main()
