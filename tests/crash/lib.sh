# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What the crash tests share: sourced with $VITRO and $MAKE_FIXTURES set. A run is a few epochs of a
# tiny model on generated pictures with everything on that draws numbers or keeps a state.
set -u
room=$(mktemp -d "${TMPDIR:-/tmp}/vitro-crash.XXXXXX") || exit 1
trap 'rm -rf "$room"' EXIT
trap 'exit 1' INT TERM
"$MAKE_FIXTURES" "$room" || exit 1
cd "$room" || exit 1
export LC_ALL=C OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive
mkdir few
for batch in data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch; do
    head -c 24584 cifar-10-batches-bin/test_batch.bin >few/$batch.bin
done

: "${EPOCHS:=4}" "${SAVE_EVERY:=3}"
# run FOLDER [OPTIONS]: its files go to FOLDER/, FOLDER.jsonl, FOLDER.out, FOLDER.err
run() {
    folder=$1 && shift
    # shellcheck disable=SC2086  # several words
    exec env ${preload:+LD_PRELOAD="$preload"} "$VITRO" train --data-path few \
        --model-name vit_tiny_patch4_32 --embed-dim 16 --depth 2 --num-heads 2 --batch-size 3 \
        --accumulate 2 --optimizer adamw --lr 0.01 --warmup-epochs 1 --clip-grad 1 \
        --drop-ratio 0.1 --attn-drop-ratio 0.1 --drop-path-ratio 0.2 --label-smoothing 0.1 \
        --epochs "$EPOCHS" --save-every "$SAVE_EVERY" --keep 2 --resume latest \
        --output-dir "$folder" --log-dir "$folder.log" --metrics-jsonl "$folder.jsonl" "$@" \
        >"$folder.out" 2>"$folder.err"
}

# same WHAT: the files of `found` are those of `whole`, and no others.
same() {
    diff -r whole found >difference 2>&1 && cmp whole.jsonl found.jsonl >>difference 2>&1 &&
        return 0
    echo "$1: the files differ from those of the run that was not interrupted:"
    cat difference found.err
    return 1
}

forget() { rm -rf found found.log found.jsonl; }
