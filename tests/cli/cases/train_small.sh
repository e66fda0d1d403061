# SPDX-License-Identifier: Apache-2.0
# Data sets that leave little to train: one class, one picture per class, no validation pictures, a
# batch larger than the set, a last batch and a last group that are smaller, an epoch cut short,
# labels that need fewer outputs than the kind of data set has names for.
tiny="--model-name vit_tiny_patch4_32 --img-size 16 --patch-size 8 --embed-dim 16 --depth 1
    --num-heads 2 --workers 0 --log-dir log"
steps() { grep -c '"step"' "$1.jsonl"; }
run() {
    name=$1 && shift
    "$VITRO" train $tiny --output-dir "out-$name" --metrics-jsonl "$name.jsonl" "$@" >out 2>err
    echo "$name: exit $?, $(steps "$name") steps, $(ls "out-$name"/model-* | wc -l) checkpoints"
    grep 'error\|skipped' err
    tail -n 1 "$name.jsonl" | grep -o '"val_loss": null'
}
mkdir -p one/tulip each/rose each/tulip
cp flowers/train/tulip/* one/tulip
cp "$(ls -d flowers/train/*/* | head -n 1)" each/rose/
cp "$(ls -d flowers/train/*/* | tail -n 1)" each/tulip/
run one --data-path one --epochs 2
run each --data-path each --epochs 2
run large --data-path flowers --epochs 1 --batch-size 1000
run last --data-path flowers --epochs 1 --batch-size 4
run single --data-path flowers --epochs 1 --batch-size 1
run groups --data-path flowers --epochs 1 --batch-size 1 --accumulate 4
run cut --data-path flowers --epochs 5 --batch-size 2 --max-steps 4
grep -o '"epoch": [0-9]*, "\(step\|train\)' cut.jsonl
mkdir few
for batch in data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch; do
    head -c 9219 cifar-10-batches-bin/test_batch.bin >few/$batch.bin
done
run labels --data-path few --num-classes 3 --epochs 1
tr -d '\n' <out-labels/class_indices.json && echo
"$VITRO" eval --weights out-labels/model-0.pth --data-path few 2>/dev/null | grep '^images'
"$VITRO" train $tiny --data-path few --num-classes 2 2>&1 >/dev/null | grep error
exit 0
