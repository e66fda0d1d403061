# SPDX-License-Identifier: Apache-2.0
# Train, then use what came of it: names of classes, geometry and transform travel in the file.
tiny="--model-name vit_tiny_patch4_32 --img-size 16 --patch-size 8 --embed-dim 16 --depth 1
    --num-heads 2 --batch-size 4 --lr 0.01 --mean 0.4 --std 0.3 --interpolation bicubic"
"$VITRO" train --data-path flowers $tiny --epochs 2 --log-dir log --metrics-jsonl steps.jsonl \
    >out 2>err
echo "exit $?"
grep -c '^training ' out
grep parameters out
sed -E '/^memory:/d; s/: *[0-9]+%.*//' err | hide_numbers
"$JSON_LINES" <steps.jsonl
ls weights
ls log | sed 's/[0-9].*//'
cat weights/class_indices.json
echo
"$VITRO" summary --weights weights/model-1.pth | sed -n '2,7p'
"$VITRO" predict --weights weights/model-1.pth --json a.ppm | "$JSON_LINES"
"$VITRO" eval --weights weights/model-1.pth --data-path flowers --json 2>/dev/null | "$JSON_LINES"
# The last epoch's validation is what eval finds, with the same batches.
"$VITRO" eval --weights weights/model-1.pth --data-path flowers --batch-size 4 --json 2>/dev/null |
    grep -o '"loss": [0-9.]*' | sed 's/"loss/"val_loss/' | cut -c1-18 >found
grep -o '"val_loss": [0-9.]*' steps.jsonl | tail -n 1 | cut -c1-18 | cmp - found && echo same
# Equal runs give equal bytes.
"$VITRO" train --data-path flowers $tiny --epochs 2 --log-dir log2 --output-dir weights2 \
    --workers 0 >out 2>err
cmp weights/model-1.pth weights2/model-1.pth && cmp weights/curves.png weights2/curves.png &&
    echo equal
# A trained file as the start of the next: the head is new.
"$VITRO" train --data-path flowers --weights model.pth --epochs 1 --log-dir log3 \
    --output-dir weights3 2>/dev/null | grep -E '^_Incompat|^training|parameters'
