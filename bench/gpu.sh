#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# gpu.sh [--quick] [OUT]: what to run first on a machine with an NVIDIA GPU, in this order: build, tests
# on the GPU, compute-sanitizer, equal bits from equal seeds, speed, and PyTorch's speed beside it.
# Everything is logged in OUT (default: build/gpu); the last lines printed are a summary. --quick tries
# the script itself in some minutes. Exit status 1: something failed; speed is no failure.
set -u
cd "$(dirname "$0")/.." || exit 1
quick=no
[ "${1:-}" = --quick ] && { quick=yes; shift; }
case ${1:-} in -*) echo "usage: gpu.sh [--quick] [OUT]" >&2; exit 2 ;; esac
out=${1:-build/gpu}
mkdir -p "$out"
build=build/release
vitro=$build/vitro
summary=$out/summary.txt
: >"$summary"
failed=0
say() { echo "gpu: $*" | tee -a "$summary"; }
# step NAME COMMAND...: runs it, its output in OUT/NAME.log
step() {
    name=$1
    shift
    if "$@" >"$out/$name.log" 2>&1; then say "$name: ok"; else
        say "$name: FAILED, see $out/$name.log"
        failed=1
    fi
}

command -v nvidia-smi >/dev/null && nvidia-smi >"$out/nvidia-smi.txt" 2>&1
built() { cmake --preset release -DVITRO_CUDA=ON && cmake --build $build; }
built >"$out/build.log" 2>&1 || { say "it does not build: see $out/build.log"; exit 1; }
"$vitro" summary --model-name vit_tiny_patch4_28 --device cuda:0 2>&1 | grep 'cannot be used' &&
    { say "there is no GPU that can be used"; exit 1; }

# ---- right? -------------------------------------------------------------------------------------
export VITRO_TEST_BACKEND=cuda
for test in "$build"/tests/test_ops_* "$build"/tests/test_optim "$build"/tests/test_golden \
    "$build"/tests/test_trainer "$build"/tests/test_profile; do
    case $test in *_cuda) continue ;; esac # those run on the emulator
    step "$(basename "$test")" "$test"
done
step graphs_off env VITRO_CUDA_GRAPHS=0 "$build/tests/test_trainer"

# ---- clean? --------------------------------------------------------------------------------------
if command -v compute-sanitizer >/dev/null; then
    tools="memcheck racecheck synccheck initcheck"
    [ $quick = yes ] && tools=memcheck
    for tool in $tools; do
        for test in test_ops_linear test_ops_layernorm test_ops_embed test_ops_loss test_ops_optim \
            test_ops_attention test_ops_bf16 test_trainer; do
            step "${tool}_$test" compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/tests/$test"
        done
    done
else
    say "compute-sanitizer is not here: nothing was looked for with it"
fi
unset VITRO_TEST_BACKEND

# ---- equal bits from equal seeds -------------------------------------------------------------------
# shellcheck disable=SC2317  # called by step
twice() {
    rm -rf "$out/fixtures" && "$build/tests/make_fixtures" "$out/fixtures" || return 1
    for run in a b; do
        "$vitro" train --device cuda:0 --precision "$1" --data-path "$out/fixtures/flowers" \
            --model-name vit_tiny_patch16_224 --epochs 2 --batch-size 4 --seed 5 --drop-ratio 0.1 \
            --attn-drop-ratio 0.1 --drop-path-ratio 0.1 --output-dir "$out/$1-$run" \
            --log-dir "$out/log-$1-$run" || return 1
    done
    cmp "$out/$1-a/model-1.pth" "$out/$1-b/model-1.pth"
}
for precision in fp32 tf32 bf16; do step "same_seed_$precision" twice $precision; done

# ---- fast? ----------------------------------------------------------------------------------------
seconds=5 batches="1 256" large=128
[ $quick = yes ] && { seconds=1 batches="1 32" large=16; }
bench() { # MODEL BATCH [OPTIONS]: JSON lines
    model=$1 batch=$2
    shift 2
    "$vitro" bench --device cuda:0 --model-name "$model" --batch-size "$batch" --seconds $seconds \
        --json "$@" >>"$out/bench.jsonl" 2>>"$out/bench.log" || { say "bench $model $*: FAILED"; failed=1; }
}
: >"$out/bench.jsonl"
for batch in $batches; do bench vit_base_patch16_224 "$batch" --precision fp32,tf32,bf16; done
bench vit_base_patch16_224 "${batches##* }" --precision tf32,bf16 --train
bench vit_large_patch16_224 $large --precision bf16 --train
"$vitro" bench --device cuda:0 --model-name vit_base_patch16_224 --batch-size "${batches##* }" \
    --precision bf16 --train --profile --seconds $seconds >"$out/profile.txt" 2>&1
if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    python3 bench/gpu_pytorch.py --seconds $seconds --batches "$batches" --large $large \
        >"$out/pytorch.jsonl" 2>"$out/pytorch.log" || say "PyTorch: FAILED, see $out/pytorch.log"
else
    say "PyTorch does not see the GPU: no comparison"
fi
echo "---- vitro" && cat "$out/bench.jsonl"
[ -f "$out/pytorch.jsonl" ] && echo "---- PyTorch" && cat "$out/pytorch.jsonl"
echo "---- summary" && cat "$summary"
exit $failed
