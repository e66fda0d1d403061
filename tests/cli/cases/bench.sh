# SPDX-License-Identifier: Apache-2.0
small="--model-name vit_tiny_patch4_28 --embed-dim 16 --depth 1 --num-heads 2 --seconds 0.01"
"$VITRO" bench $small --threads 1 --batch-size 1,3 --json >line
echo "exit $?"
"$JSON_LINES" <line
hide_numbers <line | sed 's/.*"results"/"results"/'
"$VITRO" bench $small --train --batch-size 2 --threads 1 --json | "$JSON_LINES"
"$VITRO" bench $small --train --freeze-layers true --batch-size 2 | tail -n 1 |
    awk '{ print $1, $2, $3, NF }'
"$VITRO" bench --weights model.pth --seconds 0 --batch-size 1 | grep -c infer
try bench $small --precision fp32,bf16
