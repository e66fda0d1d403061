#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_case.sh VITRO MAKE_FIXTURES JSON_LINES CASE.sh: runs the script in a fresh folder with the
# fixtures in it, and compares its output with CASE.stdout and its exit status with the number in
# CASE.exit (absent: 0). Scripts see $VITRO, $JSON_LINES and the functions below.
# UPDATE=1 writes the expected files instead: look at the difference before you commit it.
set -u
vitro=$1 make_fixtures=$2 json_lines=$3
script=$(cd "$(dirname "$4")" && pwd)/$(basename "$4")
base=${script%.sh}
room=$(mktemp -d "${TMPDIR:-/tmp}/vitro-cli.XXXXXX") || exit 1
trap 'rm -rf "$room"' EXIT
trap 'exit 1' INT TERM
mkdir "$room/work"
"$make_fixtures" "$room/work" || exit 1

cat >"$room/functions.sh" <<'FUNCTIONS'
# Runs vitro and shows its whole output and exit status: errors are expected to be seen.
try() {
    echo "\$ vitro $*"
    "$VITRO" "$@" 2>&1
    echo "exit $?"
}
# Numbers with a point, or an exponent, differ in the last digits from machine to machine.
hide_numbers() { sed -E 's/-?[0-9]+(\.[0-9]+)?e[-+]?[0-9]+|-?[0-9]+\.[0-9]+/#/g'; }
FUNCTIONS

(
    cd "$room/work" || exit 1
    export VITRO="$vitro" JSON_LINES="$json_lines" LC_ALL=C OMP_NUM_THREADS=2
    sh -c ". '$room/functions.sh'; . '$script'"
) >"$room/stdout" 2>"$room/stderr"
status=$?

if [ "${UPDATE:-0}" = 1 ]; then
    cp "$room/stdout" "$base.stdout"
    rm -f "$base.exit"
    [ $status -eq 0 ] || echo $status >"$base.exit"
    exit 0
fi
[ $status -eq 77 ] && { cat "$room/stdout"; exit 77; }
expected=0
[ -f "$base.exit" ] && expected=$(cat "$base.exit")
result=0
if ! diff -u "$base.stdout" "$room/stdout"; then
    echo "$4: the output differs (- expected, + found)"
    result=1
fi
if [ $status -ne "$expected" ]; then
    echo "$4: exit status $status, expected $expected"
    result=1
fi
[ $result -eq 0 ] || sed 's/^/stderr: /' "$room/stderr"
exit $result
