# SPDX-License-Identifier: Apache-2.0
# Every format to every other and back: the same bytes. Wrong files and names are told.
try convert --list model.pth
"$VITRO" convert model.pth a.safetensors && "$VITRO" convert a.safetensors b.npz &&
    "$VITRO" convert b.npz model2.pth && "$VITRO" convert model2.pth c.safetensors
cmp a.safetensors c.safetensors && echo "the same again"
"$VITRO" convert --list model.pth >before
"$VITRO" convert --list b.npz | cmp - before && echo "the same list"
mkdir again && "$VITRO" convert b.npz again/model.pth && cmp model.pth again/model.pth &&
    echo "the same .pth"
"$VITRO" convert --dtype bf16 model.pth half.npz
"$VITRO" convert --list half.npz | sed -n '1,2p'
"$VITRO" convert --dtype f32 half.npz whole.bin
"$VITRO" convert --dtype bf16 whole.bin half2.npz
cmp half.npz half2.npz && echo "bfloat16 there and back"
"$VITRO" predict --weights b.npz a.ppm >from_npz
"$VITRO" predict --weights model.pth a.ppm | cmp - from_npz && echo "the same prediction"
try convert model.pth
try convert --list model.pth other.pth
try convert --list --dtype f16 model.pth
try convert model.pth model.h5
try convert model.pth nowhere/model.npz
try convert --dtype f64 model.pth model.npz
try convert missing.pth model.npz
head -c 3000 b.npz >cut.npz
try convert --list cut.npz
