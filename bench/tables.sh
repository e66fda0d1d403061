#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tables.sh [--precision fp32,bf16] [--threads N] [--seconds S] [--quick] [--vitro PROGRAM]: runs
# `vitro bench` over threads, batch sizes, image sizes and model sizes, and prints the Markdown
# tables of docs/PERFORMANCE.md. --quick tries it: small models, the fewest runs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
vitro=$here/../build/release/vitro
precision=fp32
threads=$(nproc 2>/dev/null || echo 2)
seconds=10
quick=0

usage() {
    echo "usage: tables.sh [--precision fp32,bf16,int8] [--threads N] [--seconds S] [--quick]" \
        "[--vitro PROGRAM]"
}
while [ $# -gt 0 ]; do
    case $1 in
    --precision | --threads | --seconds | --vitro)
        [ $# -gt 1 ] || { usage >&2; exit 2; }
        case $1 in
        --precision) precision=$2 ;;
        --threads) threads=$2 ;;
        --seconds) seconds=$2 ;;
        --vitro) vitro=$2 ;;
        esac
        shift 2
        ;;
    --quick)
        quick=1
        shift
        ;;
    --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done
[ -x "$vitro" ] || { echo "tables: $vitro is not there: build Vitro first" >&2; exit 1; }
if [ $quick = 1 ]; then
    seconds=0 base=vit_tiny_patch16_224 base_384="vit_tiny_patch16_224 --img-size 384"
    batches=1,2 sizes="vit_tiny_patch4_28 vit_tiny_patch4_32" trained=vit_tiny_patch4_32
else
    base=vit_base_patch16_224 base_384="vit_base_patch16_224 --img-size 384"
    batches=1,2,4,8,16,32
    sizes="vit_tiny_patch16_224 vit_small_patch16_224 vit_base_patch32_224 vit_base_patch16_224
        vit_large_patch16_224 vit_huge_patch14_224"
    trained="vit_tiny_patch16_224 vit_small_patch16_224 vit_base_patch16_224"
fi
# int8 is for prediction
trained_precision=$(echo "$precision" | tr , '\n' | grep -v int8 | paste -sd , -)

# "infer fp32 8 12.34 648.1 640.2 433.7 512.1 0.847" per result. A precision that is not here is
# told by vitro and left out.
measure() {
    echo "tables: vitro bench $*" >&2
    "$vitro" bench --seconds "$seconds" "$@" >"$found" || [ -s "$found" ]
    grep -E '^(infer|train) +(fp32|bf16|int8) +[0-9]+ ' "$found"
}
found=$(mktemp)
trap 'rm -f "$found"' EXIT
trap 'exit 1' INT TERM

# A table's rows: the first column, then what measure printed.
rows() {
    measure_label=$1
    shift
    measure "$@" | awk -v label="$measure_label" '{
        printf "| %s | %s | %d | %.2f | %.1f | %.1f | %s |\n",
            label, $2, $3, $4, $5, $8, $9 == "-" ? "-" : sprintf("%.3f", $9)
    }'
}
header() {
    echo
    echo "| $1 | precision | batch | images/s | ms | peak, GFLOP/s | of peak |"
    echo "|---|---|---|---|---|---|---|"
}
thread_counts() {
    n=1
    while [ $n -lt "$threads" ]; do
        echo $n
        n=$((n * 2))
    done
    echo "$threads"
}

cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)
echo "${cpu:-$(uname -m)}; $("$vitro" --version | head -n 1); $seconds s each"
printf '\n### Threads: %s, prediction\n' $base
header threads
for n in $(thread_counts); do
    rows "$n" --model-name $base --batch-size 8 --precision "$precision" --threads "$n"
done
printf '\n### Batch size: %s, prediction, %s threads\n' $base "$threads"
header model
rows $base --model-name $base --batch-size $batches --precision "$precision" --threads "$threads"
printf '\n### Image size: prediction, %s threads\n' "$threads"
header "image side"
rows 224 --model-name $base --batch-size 8 --precision "$precision" --threads "$threads"
# shellcheck disable=SC2086  # a name and an option
rows 384 --model-name $base_384 --batch-size 8 --precision "$precision" --threads "$threads"
printf '\n### Model size: prediction, %s threads\n' "$threads"
header model
for model in $sizes; do
    rows "$model" --model-name "$model" --batch-size 8 --precision "$precision" --threads "$threads"
done
if [ -n "$trained_precision" ]; then
    printf '\n### Training, %s threads\n' "$threads"
    header "model, what is trained"
    for model in $trained; do
        for freeze in false true; do
            what=$([ $freeze = true ] && echo "the head" || echo all)
            rows "$model, $what" --model-name "$model" --batch-size 16 --train \
                --freeze-layers $freeze --precision "$trained_precision" --threads "$threads"
        done
    done
fi
