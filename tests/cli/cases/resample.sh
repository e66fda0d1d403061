# SPDX-License-Identifier: Apache-2.0
# Weights for pictures or patches of another size than they were trained with.
"$VITRO" predict --weights model.pth --img-size 24x40 --json --logits a.ppm 2>note >direct
echo "predict: exit $?"
cat note
"$VITRO" predict --weights model.pth --img-size 24x40 --dump-input x.npy a.ppm >/dev/null 2>&1
head -c 128 x.npy | tail -c +11
"$VITRO" convert model.pth large.safetensors --img-size 24x40 2>&1
"$VITRO" predict --weights large.safetensors --json --logits a.ppm >converted
echo "converted: exit $?"
cmp direct converted && echo "converted beforehand or on the way: the same"
"$VITRO" summary --weights large.safetensors --device cpu | grep -E '^(input|transform|pos_embed)'
"$VITRO" summary --weights model.pth --img-size 40 --patch-size 4 --device cpu 2>&1 |
    grep -E '^(vitro|input|transform|pos_embed)'
for rule in hf torchvision google timm-npz; do
    "$VITRO" predict --weights model.pth --img-size 24x40 --pos-embed $rule --json --logits a.ppm \
        2>note >other
    cat note
    cmp -s direct other && echo "$rule gives what timm gives"
done
"$VITRO" predict --weights model.pth --img-size 23x16 a.ppm 2>&1 >/dev/null | head -n 1 # as many patches
"$VITRO" eval --weights model.pth --data-path flowers --img-size 32 --json 2>&1 >/dev/null | head -n 1
for options in "--weights model.pth" "--weights model.pth --freeze-layers false" \
    "--init-weights model.pth" "--init-weights model.pth --patch-size 4 --pos-embed google"; do
    "$VITRO" train --data-path flowers --img-size 32 --epochs 1 --batch-size 4 --workers 0 --log-dir log \
        --output-dir tuned $options 2>note >text
    echo "train $options: exit $?"
    grep pos_embed note
    "$VITRO" summary --weights tuned/model-0.pth --device cpu | grep -E '^(input|transform)'
done
try predict --weights model.pth --img-size 4 a.ppm
try predict --weights model.pth --img-size 16384 --patch-size 300 a.ppm
try predict --weights model.pth --pos-embed bicubic a.ppm
try summary --pos-embed hf
try convert model.pth out.pth --pos-embed hf --names keep
