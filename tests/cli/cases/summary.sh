# SPDX-License-Identifier: Apache-2.0
# Counts that fvcore and PyTorch gave for the reference model.
try summary --list
small="--num-classes 5 --has-logits false"
for size in base_patch16 base_patch32 large_patch16 large_patch32 huge_patch14; do
    name=vit_${size}_224_in21k
    "$VITRO" summary --model-name $name $small --json | cut -d'}' -f1
    "$VITRO" summary --model-name $name --json | cut -d, -f1
done
"$VITRO" summary --model-name vit_base_patch32_224_in21k $small --batch-size 32 \
    --freeze-layers true | tail -n 4
try summary --attention --dim 512 --heads 1 --proj false --batch-size 32 --tokens 1024
try summary --attention --dim 512 --heads 8 --batch-size 32 --tokens 1024
try summary --weights model.pth
try summary --weights bare.safetensors --num-heads 2 --json
"$VITRO" summary --weights model.pth --json | "$JSON_LINES"
# What no machine could count is refused.
try summary --img-size 16384 --patch-size 1
try summary --attention --heads 3
try summary --weights missing.pth
try summary --model-name vit_base_patch16_225
