#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_symbols.sh LIBRARY.a: whatever one file of the library shows to another starts with vitro_.
set -eu
[ $# = 1 ] || { echo "usage: check_symbols.sh LIBRARY.a" >&2; exit 2; }

symbols=$(nm -g --defined-only "$1" | awk 'NF == 3 { print $3 }' | grep -v '^__odr_asan' | sort -u)
foreign=$(printf '%s\n' "$symbols" | grep -v '^vitro_' || true)
if [ -z "$symbols" ]; then
    echo "check_symbols: $1 defines nothing"
    exit 1
elif [ -n "$foreign" ]; then
    echo "These symbols of $1 are visible to other files but do not start with vitro_:"
    printf '%s\n' "$foreign"
    exit 1
fi
echo "check_symbols: $(printf '%s\n' "$symbols" | wc -l) symbols, all of them vitro_"
