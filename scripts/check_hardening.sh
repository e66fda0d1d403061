#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_hardening.sh VITRO LIBRARY.so: what the release is built with shows in its files: addresses
# of its own choice (PIE), tables that are read-only from the start (RELRO, NOW), no stack that runs,
# guards on the stack, checked string functions; on x86-64 marked places to jump to (CET; whether the
# system makes use of them is up to its C library).
set -eu
[ $# = 2 ] || { echo "usage: check_hardening.sh VITRO LIBRARY.so" >&2; exit 2; }
command -v readelf >/dev/null || { echo "check_hardening: there is no readelf here"; exit 77; }
bad=0
# expect FILE WHAT PATTERN OPTION: readelf's output has it.
expect() {
    readelf -W "$4" "$1" 2>/dev/null | grep -Eq "$3" || { echo "$1: no $2"; bad=1; }
}
expect "$1" "PIE" 'Type: *DYN' -h
for file in "$1" "$2"; do
    expect "$file" "RELRO" 'GNU_RELRO' -l
    expect "$file" "immediate binding" 'BIND_NOW|FLAGS_1.*NOW' -d
    expect "$file" "guards on the stack" '__stack_chk_fail' --dyn-syms
    expect "$file" "checked functions" '__[a-z]*printf_chk|__mem[a-z]*_chk' --dyn-syms
    readelf -W -l "$file" | grep GNU_STACK | grep -q 'RWE' && { echo "$file: a stack that runs"; bad=1; }
    case $(uname -m) in
    x86_64)
        marks=$(objdump -d --no-show-raw-insn "$file" | grep -c endbr64)
        [ "$marks" -gt 500 ] || { echo "$file: $marks places to jump to are marked"; bad=1; }
        ;;
    esac
done
[ $bad -ne 0 ] || echo "check_hardening: all of it is there"
exit $bad
