# SPDX-License-Identifier: Apache-2.0
# Files for timm, transformers and torchvision: names, config files, and what has no place there.
try convert --names hf model.pth hf/
cat hf/config.json hf/preprocessor_config.json
"$VITRO" convert --list hf/model.safetensors | sed -n '1,14p'
try convert --names hf --dtype f16 model.pth hf/
try convert --names timm model.pth timm.safetensors
cat config.json
try convert --names timm model.pth timm.safetensors
try convert --names hf model.pth other.safetensors
try convert --names torchvision model.pth tv.pth
"$VITRO" convert --list tv.pth | sed -n '1,8p'
"$VITRO" predict --weights model.pth --json --logits a.ppm >expected
"$VITRO" convert --names hf model.pth hf/ 2>/dev/null
for file in hf/model.safetensors timm.safetensors tv.pth; do
    "$VITRO" convert --names vitro "$file" again.safetensors 2>/dev/null
    "$VITRO" predict --weights again.safetensors --json --logits a.ppm | cmp - expected && echo "$file: the same logits"
done
try convert --names hf --qk-scale 0.5 model.pth new/
try convert --names hf --dtype int8 model.pth new/
try convert --names hf --list model.pth
try convert --names hf model.pth nowhere/new/
