#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_names.py VITRO: exports models for transformers, timm and torchvision, and loads them there:
no key missing, none unexpected, the logits and the pictures' preprocessing those of Vitro.
Exits with 77 where one of the libraries is missing."""
import json
import os
import sys
import tempfile

try:
    import numpy as np
    import timm
    import torch
    import torchvision
    import transformers
    from PIL import Image
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print(f"check_names: cannot run here: {error}")
    sys.exit(77)

from vitro_files import check, predict, random_vit, run, write_pictures, write_safetensors

LIMIT = 5e-5  # of the outputs' spread
vitro = os.path.abspath(sys.argv[1])
transformers.logging.set_verbosity_error()

# name, D, depth, P, height, width, classes, q k v bias, options
MODELS = [
    ("plain", 48, 3, 8, 32, 32, 7, True, []),
    ("tanh", 64, 2, 8, 32, 32, 5, True, ["--act", "gelu_tanh"]),
    ("wide", 48, 2, 8, 24, 40, 3, True, ["--img-size", "24x40", "--transform", "hf"]),
    ("no bias", 32, 2, 16, 64, 64, 4, False, []),
    ("features", 48, 2, 8, 32, 32, 0, True, []),
]
# timm's arguments, and what no tensor says of them
VARIANTS = [
    ({"init_values": 0.1, "qk_norm": True}, []),
    ({"global_pool": "avg"}, ["--global-pool", "avg"]),
    ({"global_pool": "avg", "fc_norm": False, "class_token": False, "pool_include_prefix": True},
     ["--global-pool", "avg", "--pool-include-prefix", "true"]),
    ({"global_pool": "map", "class_token": False}, ["--global-pool", "map"]),
    ({"global_pool": "map", "reg_tokens": 2, "fc_norm": True}, ["--global-pool", "map"]),
    ({"reg_tokens": 3, "no_embed_class": True}, ["--no-embed-class", "true"]),
    # with pre_norm an epsilon of 1e-5 is assumed, as CLIP's
    ({"pre_norm": True, "act_layer": "quick_gelu"}, ["--act", "quick_gelu", "--norm-eps", "1e-6"]),
    ({"final_norm": False, "proj_bias": False, "num_classes": 0}, []),
    ({"distilled": True}, []),
    ({"distilled": True, "num_classes": 0}, []),
    ({"embed_norm_layer": "layernorm", "act_layer": "gelu_tanh"}, ["--act", "gelu_tanh"]),
]
TRANSFORMS = [
    ["--transform", "hf"],
    ["--transform", "timm", "--crop-pct", "0.8", "--mean", "0.48145466,0.4578275,0.40821073", "--std",
     "0.26,0.27,0.28"],
    ["--transform", "torchvision", "--interpolation", "lanczos"],
    ["--transform", "timm", "--crop-mode", "squash", "--crop-pct", "0.8"],
]


def outputs(model, x):
    with torch.no_grad():
        y = model.eval()(torch.from_numpy(x))
    y = getattr(y, "logits", y)
    return y.numpy()


def check_hf(what, path, x, y, classes):
    model, info = transformers.ViTForImageClassification.from_pretrained(
        path, output_loading_info=True)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[key], (what, key, info[key])
    if classes:
        check(f"{what}: transformers", outputs(model, x), y, LIMIT)
        assert [model.config.id2label[i] for i in range(len(classes))] == classes
    else:
        found = outputs(model, x)
        check(f"{what}: transformers", found, y, LIMIT)


def check_timm(what, path, x, y, classes):
    model = timm.create_model(f"local-dir:{path}", pretrained=True)
    check(f"{what}: timm, folder", outputs(model, x), y, LIMIT)
    with open(os.path.join(path, "config.json")) as f:
        config = json.load(f)
    assert config.get("label_names", []) == classes
    model = timm.create_model(config["architecture"], num_classes=config["num_classes"],
                              checkpoint_path=os.path.join(path, "model.safetensors"),
                              **config["model_args"])
    check(f"{what}: timm, checkpoint_path", outputs(model, x), y, LIMIT)
    return model


def check_torchvision(what, path, x, y, D, depth, P, side, K):
    model = torchvision.models.VisionTransformer(
        image_size=side, patch_size=P, num_layers=depth, num_heads=HEADS, hidden_dim=D,
        mlp_dim=4 * D, num_classes=max(K, 1))
    if not K:
        model.heads = torch.nn.Identity()
    model.load_state_dict(load_file(path))
    check(f"{what}: torchvision", outputs(model, x), y, LIMIT)


def check_onnx(what, path, x, y):
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    check(f"{what}: onnx", session.run(None, {"images": x})[0], y, 1e-4)


def check_variants(folder):
    x = np.random.default_rng(3).normal(size=(3, 3, 32, 32)).astype(np.float32)
    for i, (arguments, options) in enumerate(VARIANTS):
        torch.manual_seed(i)
        what = ", ".join(f"{k} {v}" for k, v in arguments.items())
        kwargs = {"num_classes": 5, **arguments}
        entry = ("deit_base_distilled_patch16_224" if kwargs.pop("distilled", False)
                 else "vit_base_patch16_224")
        model = timm.create_model(entry, img_size=32, patch_size=8, embed_dim=48, depth=2,
                                  num_heads=HEADS, **kwargs).eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * 0.1)
        y = outputs(model, x)
        weights = os.path.join(folder, "variant.safetensors")
        target = os.path.join(folder, f"variant {i}")
        save_file(model.state_dict(), weights)
        options = [*options, "--num-heads", HEADS]
        run(vitro, "convert", weights, target + ".onnx", *options)
        check_onnx(what, target + ".onnx", x, y)
        run(vitro, "convert", weights, target + "/", "--names", "timm", *options)
        again = timm.create_model(f"local-dir:{target}", pretrained=True)
        check(f"{what}: timm", outputs(again, x), y, LIMIT)


HEADS = 2
with tempfile.TemporaryDirectory() as folder:
    pictures = write_pictures(folder, 3)
    for name, D, depth, P, height, width, K, bias, options in MODELS:
        weights = os.path.join(folder, "weights.safetensors")
        write_safetensors(weights, random_vit(D, depth, P, height, width, K, 1, bias))
        classes = [f"class \u00e9 {i}" for i in range(K)]
        with open(os.path.join(folder, "names.json"), "w") as f:
            json.dump(classes, f)
        options = options + ["--num-heads", HEADS]
        labels = ["--class-indices", os.path.join(folder, "names.json")] if K else []
        x, y = predict(vitro, weights, pictures, folder, *options)
        for naming in ("hf", "timm"):
            target = os.path.join(folder, f"{name} {naming}")
            run(vitro, "convert", weights, target + "/", "--names", naming, *options, *labels)
            (check_hf if naming == "hf" else check_timm)(name, target, x, y, classes)
            # and back, by what the file says of itself
            again, found = predict(vitro, target + "/model.safetensors", pictures, folder)
            check(f"{name}: {naming} read again", found, y, 1e-6)
        if bias and height == width and "gelu_tanh" not in options:
            target = os.path.join(folder, "torchvision.safetensors")
            run(vitro, "convert", weights, target, "--names", "torchvision", *options)
            check_torchvision(name, target, x, y, D, depth, P, height, K)

    check_variants(folder)

    # How the others prepare pictures. Margins are even: of odd ones transformers cuts the larger
    # part on the other side than timm, torchvision and Vitro.
    pictures = write_pictures(folder, 3, 64, 64)
    weights = os.path.join(folder, "weights.safetensors")
    write_safetensors(weights, random_vit(48, 1, 8, 32, 32, 4, 1))
    for i, transform in enumerate(TRANSFORMS):
        options = ["--num-heads", HEADS, *transform]
        x, _ = predict(vitro, weights, pictures, folder, *options)
        opened = [Image.open(p).convert("RGB") for p in pictures]
        target = os.path.join(folder, f"transform {i}")
        run(vitro, "convert", weights, target + "-hf/", "--names", "hf", *options)
        try:
            processor = transformers.AutoImageProcessor.from_pretrained(
                target + "-hf", backend="pil")
        except TypeError:
            processor = transformers.AutoImageProcessor.from_pretrained(
                target + "-hf", use_fast=False)
        found = np.asarray(processor(opened, return_tensors="np")["pixel_values"])
        check(f"{' '.join(transform[:2])}: {type(processor).__name__}", found, x, 1e-6)
        run(vitro, "convert", weights, target + "-timm/", "--names", "timm", *options)
        model = timm.create_model(f"local-dir:{target}-timm", pretrained=True)
        timms = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
        found = np.stack([timms(p).numpy() for p in opened])
        check(f"{' '.join(transform[:2])}: timm", found, x, 1e-6)
print("check_names: passed")
