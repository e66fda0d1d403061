#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# published.sh VITRO: ViTs as their authors published them, under their own names: each gives the
# accuracy that it has in PyTorch, and files that are no plain ViT are refused with the reason.
# Runs in the repository's root; the files are no part of it (VITRO_SHARED, default ../shared).
set -u
vitro=$1
shared=${VITRO_SHARED:-../shared}
[ -d "$shared/weights/original" ] && [ -d "$shared/data/mnist" ] || {
    echo "skipped: no published weights and data at $shared (set VITRO_SHARED)"
    exit 77
}
room=$(mktemp -d "${TMPDIR:-/tmp}/vitro-published.XXXXXX") || exit 1
trap 'rm -rf "$room"' EXIT
trap 'exit 1' INT TERM
mkdir "$room/cifar-10-batches-bin"
gunzip -c "$shared/data/cifar-10-binary/test_batch.bin.gz" \
    >"$room/cifar-10-batches-bin/test_batch.bin" || exit 1
failed=0

# expect TOP1 FILE DATA OPTIONS...
expect() {
    top1=$1 file=$2 data=$3
    shift 3
    found=$("$vitro" eval --weights "$shared/weights/original/$file" --data-path "$data" \
        --batch-size 100 "$@" 2>"$room/err" | sed -n 's/^top-1 *//p')
    echo "$file: $found"
    [ "$found" = "$top1 %" ] && return
    echo "expected $top1 %"
    cat "$room/err"
    failed=1
}

maps=examples/keymaps
mnist=$shared/data/mnist
expect 95.88 mldems_mnist__vit_weights.pth "$mnist" --num-heads 2 --mean 0.1307 --std 0.3081
expect 97.53 brattany__vit_mnist.pt "$mnist" --key-map $maps/brattany.map --num-heads 4 \
    --norm-eps 1e-5 --mean 0.1307 --std 0.3081
expect 97.31 opprajwal__vision_transformer_mnist.pth "$mnist" --key-map $maps/op-prajwal.map \
    --num-heads 4 --norm-eps 1e-5 --mean 0 --std 1
expect 52.12 shamail__best_vit.pth "$room" --key-map $maps/shamail.map --num-heads 4 \
    --norm-eps 1e-5
expect 71.93 sachin__best_vit_cifar10.pth "$room" --key-map $maps/sachin.map --num-heads 4 \
    --norm-eps 1e-6 --mean 0.4914,0.4822,0.4465 --std 0.2470,0.2435,0.2616

# refuse FILE WORDS...: one line that has them all
refuse() {
    file=$1
    shift
    line=$("$vitro" summary --weights "$shared/weights/variants/$file" 2>&1 >/dev/null)
    status=$?
    echo "$file: ${line#*"$file": }"
    [ $status -eq 1 ] && [ "$(printf '%s\n' "$line" | wc -l)" -eq 1 ] || {
        echo "expected one line and exit status 1, got $status"
        failed=1
    }
    for words; do
        case $line in
        *"$words"*) ;;
        *)
            echo "expected: $words"
            failed=1
            ;;
        esac
    done
}

refuse smmk47__vit_cifar10.pth "torch.nn.TransformerEncoderLayer" "post-norm with ReLU"
refuse squarezhong__vision_transformer.pth "it is post-norm" "the head has two layers"
refuse gaurav__vit_mnist.pth "no LayerNorm behind the last block" "the head has two layers"
refuse researchase__vit_mnist_gpu.pt "768 rows: the width of q, k and v must be the tokens' 64"
refuse researchase__vit_mnist_3class.pt "more than one: state --num-heads"
refuse agentzz1__mnist_vit.pth "names of no known family" "state --key-map"
refuse yhdev__plantvit_tomato.pth "288 rows: the width of q, k and v must be the tokens' 32"
refuse kcoopman__vit.pt "each attention head has matrices of its own" "no LayerNorm behind"
refuse libaohang__vit_mnist.npz "no names (arr_0 to arr_88)" "no vectors of a final LayerNorm"
refuse jennazhao7__pytorch_model.bin "has a shape but no elements"
exit $failed
