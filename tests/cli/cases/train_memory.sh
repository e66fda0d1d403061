# SPDX-License-Identifier: Apache-2.0
# Memory is told before it is taken; where it does not suffice the refusal says what would, and that
# is true. How much each part takes is the library's business (test_recompute.c): sizes are hidden.
model="--data-path flowers --model-name vit_tiny_patch4_32 --img-size 64 --patch-size 8
    --embed-dim 64 --depth 8 --num-heads 2 --epochs 1 --workers 0 --log-dir log"
hide_sizes() { sed -E 's/[0-9.]+ ([KMGTP]i)?B/#/g'; }
with() {
    available=$1
    shift
    VITRO_MEMORY_AVAILABLE=$available "$VITRO" train $model "$@" 2>&1 >out
    echo "exit $?"
}
told() { with "$@" | grep 'memory\|error\|exit' | hide_sizes; }
told 0
told 12000000 --batch-size 6
told 16500000 --batch-size 6
told 8500000 --batch-size 6 --recompute true --clip-grad 1
told 7000000 --batch-size 6 --recompute true
told 1000000000
# A suggestion fits, and one picture more does not.
suggested=$(with 16500000 --batch-size 6 | grep -o 'batch-size [0-9]* needs' | tr -dc 0-9)
told 16500000 --batch-size "$suggested" | tail -n 1
told 16500000 --batch-size $((suggested + 1)) | tail -n 1
same=$(with 16500000 --batch-size 6 | grep -o -e '--batch-size [0-9]* --accumulate [0-9]*')
told 16500000 $same | tail -n 1
told 16500000 --recompute true | tail -n 1
# The numbers are the same, only fewer are kept.
run() {
    "$VITRO" train $model --batch-size 3 --drop-ratio 0.1 --drop-path-ratio 0.1 \
        --output-dir "$1" --recompute "$2" >out 2>err
    echo "exit $?"
}
run kept false
run again true
cmp kept/model-0.pth again/model-0.pth && echo equal
# What no machine has.
"$VITRO" train $model --embed-dim 65536 --depth 24 --num-heads 1 2>&1 >out | hide_sizes |
    grep 'memory'
# Where nothing of the blocks is kept, nothing can be computed again.
try train $model --recompute true --freeze-layers true
try train --data-path flowers --weights model.pth --recompute true
try bench --recompute true
try bench --train --freeze-layers true --recompute true
try summary --freeze-layers true --recompute true
try summary --list --recompute true
"$VITRO" bench --model-name vit_tiny_patch4_28 --embed-dim 16 --depth 3 --num-heads 2 --train \
    --recompute true --batch-size 2 --seconds 0 --json | "$JSON_LINES"
