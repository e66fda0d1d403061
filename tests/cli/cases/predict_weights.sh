# SPDX-License-Identifier: Apache-2.0
# Weights that are missing, no weights, or other weights than the options say.
try predict --weights missing.pth a.ppm
try predict --weights pictures a.ppm
try predict --weights notes.txt a.ppm
try predict --weights '' a.ppm
: >empty.pth
try predict --weights empty.pth a.ppm
head -c 2000 model.pth >cut.pth
try predict --weights cut.pth a.ppm
head -c 2000 model.safetensors >cut.safetensors
try predict --weights cut.safetensors a.ppm
try predict --weights bare.safetensors a.ppm
try predict --weights bare.safetensors --num-heads 2 --top-k 1 a.ppm
try predict --weights model.pth --embed-dim 32 a.ppm
try predict --weights model.pth --num-classes 4 a.ppm
try predict --weights model.pth --num-heads 4 a.ppm
try predict --weights model.pth --model-name vit_tiny_patch4_32 a.ppm
try predict --weights model.pth --has-logits true a.ppm
try predict --weights model.pth --has-logits false --top-k 1 a.ppm
