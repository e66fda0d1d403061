#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_examples.sh VITRO FOLDER: runs the examples built in FOLDER on small pictures made here: two
# classes, dark and bright.
set -eu
vitro=$1 examples=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "examples: $*" >&2; exit 1; }

# A grey picture of 16 x 16 equal pixels, the byte given in octal.
picture() { { printf 'P5\n16 16\n255\n'; head -c 256 /dev/zero | tr '\000' "\\$1"; } >"$2"; }

mkdir -p "$work/pictures/dark" "$work/pictures/bright"
for i in 0 1 2 3 4 5 6 7; do
    for j in 0 1 2; do
        picture "0$i$((j + 1))" "$work/pictures/dark/$i$j.pgm"
        picture "3$i$((j + 1))" "$work/pictures/bright/$i$j.pgm"
    done
done
# Weights to begin with.
"$vitro" train --data-path "$work/pictures" --model-name vit_tiny_patch16_224 --img-size 16 \
    --patch-size 8 --embed-dim 32 --depth 1 --num-heads 2 --epochs 8 --optimizer adamw --lr 0.01 --device cpu \
    --output-dir "$work" --log-dir "$work/runs" >"$work/train.log" 2>&1 ||
    { tail -n 3 "$work/train.log"; fail "no weights could be made"; }

for source in examples/*.c; do
    lines=$(wc -l <"$source")
    [ "$lines" -lt 100 ] || fail "$source has $lines lines, 100 are too many"
    if grep '#include' "$source" | grep -v -e '<vitro/' -e '<std[a-z]*\.h>'; then
        fail "$source includes more than vitro's public headers and C's own"
    fi
done

"$examples/example_finetune" "$work/model-7.pth" "$work/pictures" "$work/tuned.pth" 6 >"$work/out"
cat "$work/out"
[ "$(grep -c '^epoch [0-9]*: loss [0-9.]*$' "$work/out")" = 6 ] || fail "finetune: not six epochs"
grep -q '^right: 100.0 % of 8 pictures$' "$work/out" || fail "finetune: not all are right"

for class in dark bright; do
    "$examples/example_predict" "$work/tuned.pth" "$work/pictures/$class/31.pgm" >"$work/mine"
    cat "$work/mine"
    grep -Eq "^class: $class prob: (0\.[0-9]+|1)$" "$work/mine" || fail "predict: not $class"
    "$vitro" predict --weights "$work/tuned.pth" --top-k 1 --device cpu \
        "$work/pictures/$class/31.pgm" >"$work/theirs"
    cmp "$work/mine" "$work/theirs" || fail "predict.c and \`vitro predict\` differ"
done

right=$("$examples/example_custom_dataset")
echo "$right"
echo "$right" | awk '{ exit !($1 == "right:" && $2 >= 90) }' || fail "custom_dataset learned nothing"

# What goes wrong is told in one line, with the status that says so.
refused() {
    expected=$1 words=$2
    shift 2
    status=0
    "$@" >"$work/out" 2>"$work/err" || status=$?
    [ $status = "$expected" ] || fail "$*: status $status, expected $expected"
    [ "$(wc -l <"$work/err")" = 1 ] || fail "$*: not one line of error"
    grep -q "$words" "$work/err" || { cat "$work/err"; fail "$*: expected words: $words"; }
}
refused 2 usage "$examples/example_predict"
refused 1 "VITRO_E_IO.*nowhere" "$examples/example_predict" "$work/nowhere" "$work/nothing"
refused 1 "VITRO_E_.*31.pgm" "$examples/example_predict" "$work/pictures/dark/31.pgm" x
refused 2 usage "$examples/example_finetune" a b c none
refused 1 "VITRO_E_IO.*nowhere" "$examples/example_finetune" "$work/tuned.pth" "$work/nowhere" x 1
echo "examples: passed"
