#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_headers.sh [CC]: every public header compiles alone, as C11 and, where a C++ compiler is
# here, as C++17.
set -eu
cd "$(dirname "$0")/../.."
cc=${1:-cc}
cxx=$(command -v g++ || command -v c++ || command -v clang++ || true)
strict="-Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude"
bad=0
count=0

for header in include/vitro/*.h; do
    name=${header#include/}
    # Twice: the guard must hold.
    text="#include <$name>
#include <$name>
typedef int not_empty;"
    count=$((count + 1))
    # shellcheck disable=SC2086  # the flags are a list
    printf '%s\n' "$text" | "$cc" -std=c11 $strict -x c - || { echo "$name fails as C11"; bad=1; }
    [ -z "$cxx" ] ||
        printf '%s\n' "$text" | "$cxx" -std=c++17 $strict -x c++ - ||
        { echo "$name fails as C++17"; bad=1; }
done
[ $count -gt 1 ] || { echo "check_headers: found only $count headers"; exit 1; }
[ -n "$cxx" ] && also="and C++17" || also="alone: no C++ compiler is here"
echo "check_headers: $count headers as C11 $also"
exit $bad
