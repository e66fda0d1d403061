# SPDX-License-Identifier: Apache-2.0
# Pictures that are not square, from training to prediction; how sizes are spelled.
tiny="--model-name vit_tiny_patch4_32 --patch-size 8 --embed-dim 16 --depth 1 --num-heads 2"
"$VITRO" summary $tiny --img-size 16x40 --num-classes 3 --device cpu | grep -E '^input|pos_embed|patch_embed.proj'
"$VITRO" train --data-path flowers $tiny --img-size 16x40 --epochs 1 --batch-size 4 --workers 0 \
    --log-dir log --output-dir wide --checkpoint-format safetensors >text 2>/dev/null
echo "train: exit $?"
grep -o 'img-size=[^,]*' text || grep -o 'img_size=[^,]*' text
"$VITRO" summary --weights wide/model-0.safetensors --device cpu | grep -E '^(input|transform)'
"$VITRO" summary --weights wide/model-0.safetensors --json --device cpu |
    grep -oE '"(img_size|resize)": [^"]*'
"$VITRO" predict --weights wide/model-0.safetensors --dump-input x.npy pictures/two.ppm >/dev/null
echo "predict: exit $?"
head -c 128 x.npy | tail -c +11
wc -c <x.npy
"$VITRO" eval --weights wide/model-0.safetensors --data-path flowers --json 2>/dev/null |
    hide_numbers | grep -o '"images": [0-9]*,' | head -n 1
for size in x 16x 16x40x2 0x16 16X40 16,40 16384x20000; do
    try summary --img-size $size
done
