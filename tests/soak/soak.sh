#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# soak.sh [--short] [VITRO [MAKE_FIXTURES]]: long runs of a tiny model, whose memory, open files and
# threads must stay what they were once everything had been used for the first time: 10 000
# predictions, 20 epochs of training; and a folder of 100 000 pictures of which some are broken.
# --short: a tenth, or less. Prints what it measures; minutes.
set -eu
short=no
if [ "${1:-}" = --short ]; then
    short=yes
    shift
fi
root=$(cd "$(dirname "$0")/../.." && pwd)
vitro=${1:-$root/build/release/vitro}
make_fixtures=${2:-$root/build/release/tests/make_fixtures}
[ -r /proc/self/status ] || { echo "soak: there is no /proc here"; exit 77; }
room=$(mktemp -d "${TMPDIR:-/tmp}/vitro-soak.XXXXXX")
trap 'rm -rf "$room"' EXIT
"$make_fixtures" "$room"
cd "$room"
export OMP_NUM_THREADS=1 GOMP_SPINCOUNT=0
bad=0
fail() { echo "soak: $*"; bad=1; }

# watch NAME COMMAND...: runs it and samples its memory (KiB), descriptors and threads. The first
# third is the time of first uses (the first epoch's end loads fonts); of the rest the largest may not
# be above its first sample by more than 1 %.
watch() {
    name=$1
    shift
    "$@" >out 2>err &
    pid=$!
    : >samples
    while kill -0 $pid 2>/dev/null; do
        rss=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' /proc/$pid/status 2>/dev/null) || true
        threads=$(sed -n 's/^Threads:[^0-9]*\([0-9]*\).*/\1/p' /proc/$pid/status 2>/dev/null) || true
        fds=$(find /proc/$pid/fd -mindepth 1 2>/dev/null | wc -l) || true
        [ -z "$rss" ] || echo "$rss $fds $threads" >>samples
        sleep "$pause"
    done
    status=0
    wait $pid || status=$?
    # The last sample may be of a process that is closing.
    awk -v name="$name" -v status=$status '
    { rss[NR] = $1; fds[NR] = $2; threads[NR] = $3 }
    END {
        n = NR - 1
        first = int(n / 3) + 1
        if (n < 5) {
            print "soak: " name ": only " n " samples: it ended too soon to tell"
            exit 1
        }
        top = rss[first]; most_fds = fds[first]; most_threads = threads[first]
        for (i = first; i <= n; i++) {
            if (rss[i] > top) top = rss[i]
            if (fds[i] > most_fds) most_fds = fds[i]
            if (threads[i] > most_threads) most_threads = threads[i]
        }
        printf "%-22s %5d samples, memory %d -> %d KiB (%+.2f %%), descriptors %d -> %d, threads %d -> %d, exit %d\n",
            name, n, rss[first], top, 100 * (top - rss[first]) / rss[first], fds[first], most_fds,
            threads[first], most_threads, status
        # a descriptor more: the picture, or the file of the epoch, that is open at the moment
        exit top > rss[first] * 1.01 || most_fds > fds[first] + 8 || most_threads > threads[first]
    }' samples || fail "$name does not stay flat"
    [ $status -eq 0 ] || { tail -n 3 err; fail "$name: exit status $status"; }
}

predictions=10000 epochs=20 pictures=100000 pause=0.25
if [ $short = yes ]; then
    predictions=6000 epochs=8 pictures=3000 pause=0.01
fi

# ---- predictions: the same few pictures again and again ----------------------------------------
for i in $(seq $((predictions / 2))); do
    printf 'a.ppm\nb.ppm\n'
done >list.txt
watch "$predictions predictions" "$vitro" predict --weights model.pth --json --workers 2 @list.txt
[ "$(grep -c '"class"' out)" -ge "$predictions" ] || fail "predict: $(wc -l <out) results"

# ---- training: 64 pictures in each of two classes ----------------------------------------------
for class in one two; do
    mkdir -p set/$class
    for i in $(seq 200); do
        cp a.ppm set/$class/$i.ppm
    done
done
watch "$epochs epochs" "$vitro" train --data-path set --model-name vit_tiny_patch4_28 \
    --img-size 32 --in-channels 3 --embed-dim 48 --depth 2 --num-heads 3 --epochs "$epochs" \
    --batch-size 16 --workers 2 --output-dir weights --log-dir log --metrics-jsonl steps

# ---- a large folder with broken pictures --------------------------------------------------------
# Links to the same bytes: what is counted is files. Every 1000th is cut off, every 1500th empty.
mkdir -p large/x large/y
head -c 30 a.ppm >short
: >zero
seq "$pictures" | awk '{
    kind = $1 % 1000 == 0 ? "short" : $1 % 1500 == 0 ? "zero" : $1 % 2 ? "a.ppm" : "b.ppm"
    print kind, "large/" ($1 % 2 ? "x" : "y") "/" $1 ".ppm"
}' >plan
broken=$(grep -cE '^(short|zero)' plan)
while read -r from to; do
    ln "$from" "$to" 2>/dev/null || cp "$from" "$to" # a file has 65 000 names at most
done <plan
began=$(date +%s)
status=0
"$vitro" check large --json >found 2>err || status=$?
echo "check: $pictures pictures in $(($(date +%s) - began)) s, $(grep -c '"error"' found) of $broken broken ones, exit $status"
[ $status -eq 1 ] && [ "$(grep -c '"error"' found)" -eq "$broken" ] || fail "check"
grep -q "{\"pictures\": $pictures, \"broken\": $broken}" found || fail "check: its last line"

status=0
"$vitro" eval --weights model.pth --data-path large --split train --batch-size 256 --workers 2 \
    >out 2>err || status=$?
[ $status -eq 1 ] && grep -q '^vitro: error: large/.*ppm: ' err || fail "eval does not name the file"
began=$(date +%s)
status=0
"$vitro" eval --weights model.pth --data-path large --split train --batch-size 256 --workers 2 \
    --skip-bad true --json >out 2>err || status=$?
echo "eval --skip-bad: $(($(date +%s) - began)) s, $(grep -c '^skipped: ' err) named, exit $status," \
    "$(grep -o '"images": [0-9]*' out | head -n 1)"
[ $status -eq 0 ] && [ "$(grep -c '^skipped: ' err)" -gt 0 ] || fail "eval --skip-bad"
began=$(date +%s)
status=0
"$vitro" train --data-path large --model-name vit_tiny_patch4_28 --img-size 8 --in-channels 3 \
    --embed-dim 8 --depth 1 --num-heads 2 --epochs 1 --batch-size 256 --workers 2 \
    --output-dir weights --log-dir log --skip-bad true >out 2>err || status=$?
echo "train --skip-bad: $(($(date +%s) - began)) s, $(grep -c '^skipped: ' err) named, exit $status"
[ $status -eq 0 ] && [ "$(grep -c '^skipped: ' err)" -eq "$broken" ] || fail "train --skip-bad"
[ $bad -ne 0 ] || echo "soak: all flat"
exit $bad
