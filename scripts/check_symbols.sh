#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_symbols.sh LIBRARY.a LIBRARY.so: whatever one file of the library shows to another starts with
# vitro_, and the shared library exports what the public headers declare, no more and no less.
set -eu
[ $# = 2 ] || { echo "usage: check_symbols.sh LIBRARY.a LIBRARY.so" >&2; exit 2; }
here=$(dirname "$0")

symbols() {
    nm "$@" | awk 'NF == 3 { print $3 }' | grep -v '^__odr_asan' | sort -u
}

inside=$(symbols -g --defined-only "$1")
[ -n "$inside" ] || { echo "check_symbols: $1 defines nothing"; exit 1; }
foreign=$(printf '%s\n' "$inside" | grep -v '^vitro_' || true)
if [ -n "$foreign" ]; then
    echo "These symbols of $1 are visible to other files but do not start with vitro_:"
    printf '%s\n' "$foreign"
    exit 1
fi

lists=$(mktemp -d)
trap 'rm -rf "$lists"' EXIT
symbols -D --defined-only "$2" >"$lists/exported"
# What stands between VITRO_API and the opening bracket ends in the function's name.
cat "$here"/../include/vitro/*.h | tr '\n' ' ' | grep -o 'VITRO_API [^;(){}]*(' |
    grep -o 'vitro_[a-z0-9_]* *($' | tr -d ' (' | sort -u >"$lists/declared"
[ -s "$lists/declared" ] || { echo "check_symbols: the headers declare nothing"; exit 1; }
if ! diff "$lists/declared" "$lists/exported" >"$lists/diff"; then
    echo "Declared in include/vitro (<) is not what $2 exports (>):"
    grep '^[<>]' "$lists/diff"
    exit 1
fi
echo "check_symbols: $(printf '%s\n' "$inside" | wc -l) symbols, all of them vitro_;" \
    "$(wc -l <"$lists/exported") exported as declared"
