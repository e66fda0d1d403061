#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_bench.sh VITRO: the scripts of bench/ parse, refuse wrong options, and what tables.sh makes of
# vitro's output are tables. Installs nothing: peers.sh's packages are not needed here.
set -eu
vitro=$1
cd "$(dirname "$0")/../../bench"
room=$(mktemp -d "${TMPDIR:-/tmp}/vitro-bench.XXXXXX")
trap 'rm -rf "$room"' EXIT
trap 'exit 1' INT TERM
fail() {
    echo "check_bench: $*"
    exit 1
}

sh -n peers.sh || fail "peers.sh does not parse"
sh -n tables.sh || fail "tables.sh does not parse"
sh -n gpu.sh || fail "gpu.sh does not parse"
status=0
./gpu.sh --no-such-option >/dev/null 2>&1 || status=$?
[ $status = 2 ] || fail "gpu.sh takes an option that it does not have: exit $status"
status=0
./tables.sh --no-such-option >/dev/null 2>&1 || status=$?
[ $status = 2 ] || fail "tables.sh takes an option that it does not have: exit $status"

# A stand-in for vitro, so that no time is spent: it knows fp32 only, as some builds do.
cat >"$room/vitro" <<'STANDIN'
#!/bin/sh
[ "$1" = --version ] && { echo "vitro 1.2.3"; exit 0; }
mode=infer
for word; do [ "$word" = --train ] && mode=train; done
echo "device   cpu: stand-in"
echo
echo "mode   precision  batch     images/s           ms       ms min    GFLOP/s       peak  of peak"
echo "$mode  fp32           8        65.62       15.238       14.022      164.5      341.3    0.482"
echo "vitro: error: bf16 is not in this build" >&2
exit 1
STANDIN
chmod +x "$room/vitro"
./tables.sh --quick --threads 3 --precision fp32,bf16 --vitro "$room/vitro" >"$room/tables" \
    2>"$room/err" || fail "tables.sh failed: $(cat "$room/err")"
rows=$(grep -c '| fp32 | 8 | 65.62 | 15.2 | 341.3 | 0.482 |$' "$room/tables")
# threads 1, 2, 3; batches; two sides; two sizes; training of all and of the head
[ "$rows" = 10 ] || fail "tables.sh printed $rows rows, expected 10: $(cat "$room/tables")"
grep -q '^| vit_tiny_patch4_32, the head | fp32 ' "$room/tables" || fail "no row for the head"
bad=$(awk '/^[|]/ && gsub(/[|]/, "|") != 8' "$room/tables")
[ -z "$bad" ] || fail "not seven columns: $bad"

# The real program's table has the columns that tables.sh reads.
"$vitro" bench --model-name vit_tiny_patch4_28 --depth 1 --seconds 0 --batch-size 2 --threads 1 |
    awk '$1 == "infer" {
        rows++
        if (NF != 9 || $3 != 2 || $4 * $5 < 1900 || $4 * $5 > 2100 || $9 * $8 > $7 * 1.1) exit 1
    }
    END { exit rows != 1 }' || fail "vitro bench prints other columns"

command -v python3 >/dev/null || { echo "check_bench: no python3: peers.py was not compiled"; exit 0; }
for script in peers.py gpu_pytorch.py; do
    python3 -c 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")' $script ||
        fail "$script does not compile"
done
python3 -B peers.py --help >/dev/null || fail "peers.py --help"
python3 -B peers.py --model vit_none 2>"$room/err" && fail "peers.py takes vit_none"
grep -q "^peers: .*'vit_none'" "$room/err" || fail "peers.py does not name vit_none"
echo "check_bench: the scripts hold"
