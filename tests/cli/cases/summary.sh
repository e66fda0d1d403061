# SPDX-License-Identifier: Apache-2.0
# Counts that fvcore and PyTorch gave for the reference model.
# The plan of the activations is the library's business (test_summary.c): its bytes are hidden.
hide_plan() {
    sed -E 's/^(  (predict|train) +)[0-9,]+/\1#/; s/(activations"?:?) [0-9]+/\1 #/g
        s/("total":) [0-9]+/\1 #/g'
}
try summary --list | sed -n "1,15p;\$p" # the original's; then come timm's
small="--num-classes 5 --has-logits false"
for size in base_patch16 base_patch32 large_patch16 large_patch32 huge_patch14; do
    name=vit_${size}_224_in21k
    "$VITRO" summary --model-name $name $small --json | cut -d'}' -f1
    "$VITRO" summary --model-name $name --json | cut -d, -f1
done
try summary --model-name vit_base_patch32_224_in21k $small --batch-size 32 --freeze-layers true \
    --device cpu | hide_plan
try summary --attention --dim 512 --heads 1 --proj false --batch-size 32 --tokens 1024
try summary --attention --dim 512 --heads 8 --batch-size 32 --tokens 1024
try summary --attention --dim 8 --heads 2 --tokens 3 --qkv-bias true --json
try summary --weights model.pth --device cpu | hide_plan
try summary --weights model.pth --every-block --num-classes 3 --backend ref --precision fp64 |
    sed -n '/^layer/,$p' | hide_plan
try summary --weights bare.safetensors --num-heads 2 --json --device cpu | hide_plan
"$VITRO" summary --weights model.pth --json | "$JSON_LINES"
# One block, a norm of the patches, features, a remainder of the picture.
try summary --depth 1 --patch-norm true --num-classes 0 --img-size 35 --patch-size 8 --embed-dim 24 \
    --num-heads 3 --mlp-ratio 2.5 --representation-size 10 --batch-size 3 --device cpu | hide_plan
# What no machine could count is refused, and options that would be ignored.
try summary --img-size 16384 --patch-size 1
try summary --attention --heads 3
try summary --weights missing.pth
try summary --model-name vit_base_patch16_225
try summary --tokens 5
try summary --attention --depth 5
try summary --attention --freeze-layers true
try summary --list --batch-size 2
try summary --list --dim 2
try summary --precision bf16
try summary --attention --precision int8
try summary --device tpu
