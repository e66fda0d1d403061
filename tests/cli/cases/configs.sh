# SPDX-License-Identifier: Apache-2.0
# Weights with the configuration files that Hugging Face and timm put beside them. ($GOLDEN is set by
# tests/CMakeLists.txt.)
[ -n "${GOLDEN:-}" ] || { echo "skipped: GOLDEN is not set"; exit 77; }
cp -r "$GOLDEN/configs/hf" "$GOLDEN/configs/hf_crop" "$GOLDEN/configs/timm" \
    "$GOLDEN/configs/timm_border" "$GOLDEN/configs/training.pth" .
for weights in hf hf_crop/model.safetensors timm timm_border training.pth; do
    "$VITRO" summary --weights $weights --device cpu 2>&1 |
        grep -E '^(vitro|file|described|transform|classes|input|encoder)'
done
"$VITRO" summary --weights hf --json --device cpu | grep -o '"described_by".*"mean"'
"$VITRO" predict --weights timm --img-size 48 --top-k 1 a.ppm 2>&1 | sed 's/prob.*//'
"$VITRO" convert hf own.safetensors --names vitro 2>&1
"$VITRO" summary --weights own.safetensors --device cpu | grep -E '^(described|transform|classes)'
"$VITRO" predict --weights hf --json --logits a.ppm >before
"$VITRO" predict --weights own.safetensors --json --logits a.ppm >after
cmp before after && echo "the same before and after"
"$VITRO" predict --weights hf --transform timm --mean 0.1 --json --logits a.ppm | cmp -s before - ||
    echo "options override"
"$VITRO" train --weights hf_crop --data-path flowers --epochs 1 --batch-size 4 --workers 0 \
    --log-dir log --output-dir tuned >/dev/null 2>&1
echo "train: exit $?"
"$VITRO" summary --weights tuned/model-0.pth --device cpu | grep -E '^(transform|classes)'
cp "$GOLDEN/model/names_torchvision.npz" .
"$VITRO" summary --weights names_torchvision.npz --num-heads 2 --device cpu 2>&1 |
    grep -E 'no transform|^transform'
# contradictions and nonsense
sed 's/"hidden_size": 8/"hidden_size": 16/' "$GOLDEN/configs/hf/config.json" >hf/config.json
try summary --weights hf
sed 's/"image_size": 32/"image_size": 48/' "$GOLDEN/configs/hf/config.json" >hf/config.json
try summary --weights hf
rm hf/preprocessor_config.json
try summary --weights hf
sed 's/gelu_new/relu/' "$GOLDEN/configs/hf/config.json" >hf/config.json
try summary --weights hf
echo '{"model_type": "bert"}' >hf/config.json
try predict --weights hf --top-k 1 --num-heads 2 a.ppm | sed 's/prob.*//'
mkdir nothing
try summary --weights nothing
