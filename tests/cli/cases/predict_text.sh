# SPDX-License-Identifier: Apache-2.0
try predict --weights model.pth a.ppm
try predict --weights model.safetensors a.ppm
try predict --weights model.pth --backend ref a.ppm
try predict --weights model.pth --top-k 2 a.ppm grey.pgm
try predict --weights model.pth --top-k 1 pictures
try predict --weights model.pth --top-k 1 flowers/val
try predict --weights grey.pth --top-k 1 a.ppm grey.pgm
try predict --weights features.pth a.ppm | hide_numbers
try predict --weights model.pth --logits --top-k 1 a.ppm | hide_numbers
