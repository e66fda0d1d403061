#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh VITRO MAKE_FIXTURES: the commands on a tiny model under valgrind: no use of memory that was
# not set, none that is not there, nothing lost.
set -eu
vitro=$1 make_fixtures=$2
here=$(cd "$(dirname "$0")" && pwd)
case $vitro in /*) ;; *) vitro=$PWD/$vitro ;; esac
case $make_fixtures in /*) ;; *) make_fixtures=$PWD/$make_fixtures ;; esac
room=$(mktemp -d "${TMPDIR:-/tmp}/vitro-valgrind.XXXXXX")
trap 'rm -rf "$room"' EXIT
"$make_fixtures" "$room"
cd "$room"
export OMP_NUM_THREADS=1 GOMP_SPINCOUNT=0
check() {
    echo "valgrind: mask $VITRO_CPU_MASK: vitro $*"
    valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
        --suppressions="$here/libraries.supp" "$vitro" "$@" >out 2>err || {
        cat err
        exit 1
    }
}
for VITRO_CPU_MASK in 0 0x41; do
    export VITRO_CPU_MASK
    check predict --weights model.pth --json --workers 2 a.ppm b.ppm
    check eval --weights model.pth --data-path flowers --confusion c.csv --workers 1
    check train --data-path flowers --model-name vit_tiny_patch4_28 --img-size 8 --in-channels 3 \
        --embed-dim 8 --depth 1 --num-heads 2 --epochs 1 --batch-size 4 --workers 1 \
        --output-dir w --log-dir l
done
check predict --weights model.pth --plot x.png a.ppm
check convert model.pth x.safetensors
check convert x.safetensors x.npz --dtype bf16
check convert x.npz y.pth --names vitro
check summary --weights y.pth --json
check check flowers
echo "valgrind: nothing found"
