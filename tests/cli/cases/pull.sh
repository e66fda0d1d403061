# SPDX-License-Identifier: Apache-2.0
# Published weights by name: fetched from a hub of ours, found in the cache, and told where not.
"$VITRO" --version | grep -qE '^libcurl (none|not found)' && { echo "no libcurl here"; exit 77; }
commit=0123456789abcdef0123456789abcdef01234567
hub() { # hub OWNER/NAME: what a hub serves of model.safetensors
    mkdir -p "hub/api/models/$1/revision" "hub/$1/resolve/$commit"
    cp model.safetensors "hub/$1/resolve/$commit/"
    echo '{"architecture": "vit"}' >"hub/$1/resolve/$commit/config.json"
    sum=$(sha256sum model.safetensors | cut -d' ' -f1) size=$(wc -c <model.safetensors)
    echo "{\"sha\": \"$commit\", \"siblings\": [{\"rfilename\": \"config.json\", \"size\": 24}, {\"rfilename\":
        \"model.safetensors\", \"size\": $size, \"lfs\": {\"sha256\": \"${2:-$sum}\"}}]}" \
        >"hub/api/models/$1/revision/main?blobs=true"
}
export XDG_CACHE_HOME="$PWD/cache"
unset HF_TOKEN
"$VITRO" convert --names vitro model.pth model.safetensors 2>/dev/null
hub timm/small.in1k
hub timm/wrong 0000000000000000000000000000000000000000000000000000000000000000
try predict --weights timm/small.in1k a.ppm | sed "s|$PWD|.|"
try pull --list
"$SERVE" hub sh -c 'HF_ENDPOINT=$URL "$VITRO" pull timm/small.in1k' 2>/dev/null | sed "s|$PWD|.|"
"$SERVE" hub sh -c '"$VITRO" pull --endpoint $URL timm/small.in1k@main' 2>&1 | sed "s|$PWD|.|"
"$SERVE" hub sh -c '"$VITRO" pull --endpoint $URL timm/wrong; echo "exit $?"' 2>&1 | grep -v '100%' |
    sed "s|127.0.0.1:[0-9]*|HERE|; s|SHA-256 [0-9a-f]*|SHA-256 SUM|"
"$SERVE" hub sh -c '"$VITRO" pull --endpoint $URL timm/none; echo "exit $?"' 2>&1 | sed "s|127.0.0.1:[0-9]*|HERE|"
"$VITRO" pull --list | sed "s|$PWD|.|"
"$VITRO" predict --weights model.safetensors --json --logits a.ppm >expected
"$VITRO" predict --weights timm/small.in1k --json --logits a.ppm | cmp - expected && echo "predict: the same"
"$VITRO" summary --weights timm/small.in1k --json | grep -o '"params": [0-9]*' | head -n 1
"$VITRO" convert --list timm/small.in1k | head -n 1
"$VITRO" convert timm/small.in1k out.npz 2>&1
try predict --weights runs/model.pth a.ppm
try pull
try pull --list timm/small.in1k
try pull ../../etc/passwd
try pull timm/small.in1k@refs/pr/1
