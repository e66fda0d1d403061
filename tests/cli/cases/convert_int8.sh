# SPDX-License-Identifier: Apache-2.0
# Files for --precision int8: what they hold, the same predictions as from the floats, the way back.
try convert wide.pth i8.safetensors --dtype int8
try convert --list i8.safetensors
try summary --weights i8.safetensors | head -n 8
"$VITRO" summary --weights i8.safetensors --json | grep -o '"int8_weights": [0-9]*'
"$VITRO" summary --weights wide.pth --json | grep -o '"int8_weights": [0-9]*'

predict() { "$VITRO" predict --json --logits --weights "$@" a.ppm b.ppm; }
predict i8.safetensors --precision int8 >from_bytes
predict wide.pth --precision int8 | cmp - from_bytes && echo "the same logits"
predict wide.pth | cmp -s - from_bytes || echo "not those of fp32"
"$VITRO" convert i8.safetensors floats.npz --dtype f32
"$VITRO" convert --list floats.npz | grep -c I8
for device in "" "--precision bf16" "--backend ref"; do
    predict i8.safetensors $device >from_bytes
    predict floats.npz $device | cmp - from_bytes && echo "the same as floats: $device"
done
"$VITRO" convert i8.safetensors same.npz && "$VITRO" convert same.npz i8b.safetensors &&
    cmp i8.safetensors i8b.safetensors && echo "the same bytes through .npz"
"$VITRO" convert i8.safetensors again.safetensors --dtype int8 &&
    cmp i8.safetensors again.safetensors && echo "twice is once"
"$VITRO" convert i8.safetensors i8.safetensors --dtype bf16 &&
    "$VITRO" convert --list i8.safetensors | grep -c BF16

# A narrow model has no product that bytes would make faster: its matrices are BF16.
try convert model.pth narrow.safetensors --dtype int8
"$VITRO" convert --list narrow.safetensors | grep -c BF16
predict model.pth --precision int8 >from_floats
predict narrow.safetensors --precision int8 | cmp - from_floats && echo "the same logits"

# Names of others; training begins with the floats.
try convert --num-heads 2 --key-map foreign.map foreign.npz foreign8.safetensors --dtype int8
"$VITRO" convert wide.pth i8.safetensors --dtype int8
"$VITRO" train --data-path flowers --init-weights i8.safetensors --model-name '' --epochs 1 \
    --max-steps 1 --output-dir out --log-dir runs >/dev/null 2>&1 && echo "trained"
"$VITRO" eval --weights i8.safetensors --precision int8 --data-path flowers --json | cut -c 1-8

try convert wide.pth i8.npz --dtype int8
try convert wide.pth i8.pth --dtype int8
try convert wide.pth i8.safetensors --dtype int8 --names keep
try convert nan.pth nan.safetensors --dtype int8
[ -e nan.safetensors ] || echo "nothing is written"
