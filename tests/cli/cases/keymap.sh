# SPDX-License-Identifier: Apache-2.0
# A key map serves every command, and convert writes what it was told into the file.
"$VITRO" convert --list foreign.npz | grep -v blocks
try predict --weights foreign.npz --num-heads 2 a.ppm
"$VITRO" predict --weights bare.safetensors --num-heads 2 --logits --json a.ppm >expected
map="--key-map foreign.map --num-heads 2"
"$VITRO" predict --weights foreign.npz $map --logits --json a.ppm | cmp - expected &&
    echo "predict: the same"
"$VITRO" summary --weights foreign.npz $map | sed -n '2p'
"$VITRO" eval --weights foreign.npz $map --data-path flowers 2>/dev/null | grep '^images'
"$VITRO" train --weights foreign.npz $map --data-path flowers --epochs 1 --log-dir log 2>/dev/null |
    grep '^_Incompat'
"$VITRO" train --init-weights foreign.npz $map --data-path flowers --epochs 1 --log-dir log2 \
    --output-dir out >/dev/null 2>&1 && echo trained
"$VITRO" convert --list --key-map foreign.map foreign.npz | grep -v blocks
"$VITRO" convert $map --mean 0.25 --std 0.5 foreign.npz told.pth && echo converted
"$VITRO" summary --weights told.pth | sed -n '2,4p'
"$VITRO" predict --weights told.pth --mean 0.5 --logits --json a.ppm | cmp - expected &&
    echo "without options: the same"
echo '["x", "y", "z"]' >three.json
"$VITRO" convert $map --class-indices three.json foreign.npz named.pth
"$VITRO" summary --weights named.pth | grep classes
# what is wrong is told
try predict --weights foreign.npz --key-map none.map a.ppm
try predict --weights bare.safetensors $map a.ppm
echo 'head.bias = head.bias' >short.map
try predict --weights foreign.npz --key-map short.map a.ppm
echo 'token == cls_token' >wrong.map
try predict --weights foreign.npz --key-map wrong.map a.ppm
try convert --names keep $map foreign.npz x.npz
try convert --key-map foreign.map foreign.npz x.npz
try convert --key-map foreign.map --num-heads 3 foreign.npz x.npz
echo '{"0": "one"}' >one.json
try convert $map --class-indices one.json foreign.npz x.npz
(cat foreign.map && echo '- norm.bias') >less.map
try convert --key-map less.map --num-heads 2 foreign.npz x.npz
echo 'blocks.1.attn.qkv.weight = extra' >more.map
try convert --key-map more.map --num-heads 2 bare.safetensors x.npz
