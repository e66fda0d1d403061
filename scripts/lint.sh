#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lint.sh [FILE.c...]: clang-tidy (14, .clang-tidy in the root), cppcheck and shellcheck over the
# tree, or clang-tidy over the files given. Findings that were looked at and are none stand in
# scripts/lint.known with the reason. Tools that are not here are left out, and named.
set -eu
cd "$(dirname "$0")/.."
bad=0
found=$(mktemp)
trap 'rm -f "$found"' EXIT

# Lines of $found that lint.known does not name, as "FILE CHECK".
unknown() {
    sort -u "$found" | while read -r file check rest; do
        grep -q "^$file $check " scripts/lint.known || echo "$file: $check $rest"
    done
}
report() {
    if [ -n "$(unknown)" ]; then
        unknown
        bad=1
    fi
}

if command -v clang-tidy >/dev/null; then
    # With asserts: they tell the analyzer what cannot be.
    cmake -S . -B build/lint -G Ninja -DCMAKE_BUILD_TYPE=Debug >/dev/null
    files=${*:-$(find src cli examples -name '*.c' | sort)}
    # shellcheck disable=SC2086  # a list
    printf '%s\n' $files | xargs -P "$(nproc 2>/dev/null || echo 2)" -n 4 \
        clang-tidy -p build/lint --quiet 2>/dev/null |
        sed -n "s|^$PWD/\([^:]*\):\([0-9]*\):[0-9]*: [a-z]*: \(.*\) \[\([^],]*\).*\]\$|\1 \4 line \2: \3|p" \
        >"$found"
    report
else
    echo "lint: clang-tidy is not here"
fi
[ $# -eq 0 ] || exit $bad

if command -v cppcheck >/dev/null; then
    cppcheck --std=c11 --enable=warning,portability,performance --quiet \
        -j "$(nproc 2>/dev/null || echo 2)" --suppress=missingInclude -I include -I src -I cli \
        -D__x86_64__ -DVITRO_HAVE_CURL=1 -DVITRO_HAVE_ARCHIVE=1 \
        -DVITRO_CURL_FILE='"libcurl.so.4"' -DVITRO_ARCHIVE_FILE='"libarchive.so.13"' \
        --template='{file} {id} line {line}: {message}' src cli examples 2>&1 |
        grep -E '^[a-z]+/[^ ]+ [a-zA-Z]+ line ' >"$found" || true
    report
else
    echo "lint: cppcheck is not here"
fi

if command -v shellcheck >/dev/null; then
    # Cases of the command line are pieces that run_case.sh puts a head on.
    # SC2046: lists of files, none of ours has a blank in its name
    shellcheck -S warning -e SC2046 demo test .ci/run \
        $(find scripts tests -name '*.sh' -not -path 'tests/cli/cases/*') || bad=1
else
    echo "lint: shellcheck is not here"
fi
[ $bad -ne 0 ] || echo "lint: nothing found"
exit $bad
