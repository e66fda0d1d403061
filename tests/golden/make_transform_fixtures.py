#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/image/transform_foreign.txt: what timm's and Hugging Face's own eval transforms
make of the pictures of tests/golden/image, as check sums that test_image_golden.c reads.

Run it from the root of the repository with timm, transformers, torchvision and Pillow from PyPI; the
first line of the file says which versions were used. Hugging Face's processors are those of Pillow
(PilBackend), which give bytes that do not depend on the machine.

Lines: FILE HEIGHT WIDTH RULE RESIZE_HEIGHT RESIZE_WIDTH CROP FILTER MEAN STD, check sums of the bytes
and of the floats. RULE, CROP and FILTER are the numbers of vitro/image.h; MEAN is that of channel 0,
1 and 2, STD too.
"""
import math
import pathlib
import zlib

import numpy as np
import PIL
import timm
import torch
import transformers
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

OUT = pathlib.Path("tests/golden/image")
FILTERS = {"bilinear": 0, "bicubic": 1, "lanczos": 2, "box": 3, "hamming": 4, "nearest": 5}
PIL_FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
MODES = {"center": 0, "squash": 1, "border": 2}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def crc(array):
    return f"{zlib.crc32(np.ascontiguousarray(array).tobytes()):08x}"


def line(name, image, size, rule, resize, crop, filter_, norm, pixels, floats):
    fields = [name, *size, rule, *resize, crop, FILTERS[filter_], *norm[0], *norm[1], crc(pixels),
              crc(floats.astype("<f4"))]
    return " ".join(str(f) for f in fields) + "\n"


def of_timm(name, image, size, crop_pct, mode, filter_, norm):
    args = dict(img_size=size, crop_pct=crop_pct, crop_mode=mode, interpolation=filter_,
                mean=norm[0], std=norm[1])
    floats = transforms_imagenet_eval(**args)(image).numpy()
    pixels = np.asarray(transforms_imagenet_eval(**args, use_prefetcher=True)(image))
    pixels = pixels.transpose(1, 2, 0)
    resize = [math.floor(s / crop_pct) for s in size]
    return line(name, image, size, MODES[mode], resize, 0, filter_, norm, pixels, floats)


def of_hugging_face(name, image, size, resize, filter_, norm):
    """resize: one number for the shorter side, or (height, width)."""
    short = isinstance(resize, int)
    args = dict(size={"shortest_edge": resize} if short else
                {"height": resize[0], "width": resize[1]},
                resample=PIL_FILTERS[filter_], image_mean=norm[0], image_std=norm[1])
    if short or tuple(resize) != tuple(size):
        processor = DeiTImageProcessorPil(
            **args, do_center_crop=True, crop_size={"height": size[0], "width": size[1]})
    else:
        processor = ViTImageProcessorPil(**args)
    floats = processor(image, return_tensors="np")["pixel_values"][0]
    pixels = processor(image, return_tensors="np", do_rescale=False,
                       do_normalize=False)["pixel_values"][0].transpose(1, 2, 0).astype("u1")
    return line(name, image, size, 0 if short else 1, [resize] * 2 if short else resize, 1,
                filter_, norm, pixels, floats)


def main():
    lines = [f"# timm {timm.__version__}, transformers {transformers.__version__}, "
             f"torch {torch.__version__}, Pillow {PIL.__version__}\n"]
    for name in ("kind6_8.png", "raw65535.ppm"):
        image = Image.open(OUT / name).convert("RGB")
        for filter_ in FILTERS:
            for mode in MODES:
                lines.append(of_timm(name, image, (32, 32), 0.9, mode, filter_, IMAGENET))
        for mode in MODES:
            lines.append(of_timm(name, image, (31, 40), 0.95, mode, "bicubic", HALF))
            lines.append(of_timm(name, image, (17, 90), 1.0, mode, "bilinear", IMAGENET))
            lines.append(of_timm(name, image, (150, 20), 0.875, mode, "bicubic", HALF))
        for filter_ in FILTERS:
            lines.append(of_hugging_face(name, image, (32, 32), (32, 32), filter_, HALF))
        lines.append(of_hugging_face(name, image, (24, 40), (24, 40), "bilinear", IMAGENET))
        for side in (36, 37, 38, 39, 41):  # margins of every remainder
            lines.append(of_hugging_face(name, image, (32, 32), (side, side), "bicubic", IMAGENET))
            lines.append(of_hugging_face(name, image, (32, 31), side, "bicubic", IMAGENET))
        lines.append(of_hugging_face(name, image, (51, 50), (20, 27), "bilinear", HALF))  # padded
        lines.append(of_hugging_face(name, image, (51, 10), (20, 27), "bilinear", HALF))
    (OUT / "transform_foreign.txt").write_text("".join(lines))


main()
