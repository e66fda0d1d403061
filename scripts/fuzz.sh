#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh [SECONDS [TARGET...]]: runs the libFuzzer targets (docs/TESTING.md), one after another, for
# SECONDS each (default 600), and prints a line for each: runs, edges, features, corpus. Needs clang
# with its compiler-rt and libomp. What a target finds lies in build/fuzz/found/TARGET/.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-600}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- pth safetensors npz idx cifar text unpack jpeg png webp bitmap http

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz

# The fixtures of a target's format, beside its corpus.
seeds() {
    golden=tests/golden
    case $1 in
    pth) echo $golden/ckpt/*.pth $golden/pickle/*.pkl ;;
    npz) echo $golden/ckpt/*.npz $golden/model/names_huggingface_bare.npz ;;
    safetensors) echo $golden/model/tanh_features.safetensors ;;
    cifar) echo $golden/data/*.pkl ;;
    jpeg) echo $golden/image/*.jpg ;;
    png) echo $golden/image/*.png ;;
    webp) echo $golden/image/*.webp ;;
    bitmap) echo $golden/image/*.bmp $golden/image/*.p[bgp]m ;;
    esac
}

# The fuzzer's own allocator limits stand in for replay's count of memory.
limits="-timeout=300 -malloc_limit_mb=600 -rss_limit_mb=2500 -max_len=16384 -print_final_stats=1"
export ASAN_OPTIONS="allocator_may_return_null=0:detect_stack_use_after_return=0:detect_leaks=1"
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
export OMP_NUM_THREADS=1
bad=0
for target; do
    found=build/fuzz/found/$target
    seeded=build/fuzz/seeds/$target
    rm -rf "$seeded"
    mkdir -p "$found/corpus" "$seeded"
    for file in $(seeds "$target"); do
        cp "$file" "$seeded/"
    done
    # shellcheck disable=SC2086  # options
    if ! nice -n 19 build/fuzz/tests/fuzz/fuzz_"$target" $limits -max_total_time="$seconds" \
        -artifact_prefix="$found/" "$found/corpus" tests/fuzz/corpus/"$target" "$seeded" \
        >"$found/log" 2>&1; then
        echo "fuzz: $target: FAILED: $found/log"
        bad=1
    fi
    echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: */runs /p' "$found/log")" \
        "$(grep -o 'cov: [0-9]* ft: [0-9]* corp: [0-9]*' "$found/log" | tail -n 1)"
done
exit $bad
