#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# coverage.sh [-t]: which lines of src/ the suite runs. Builds the preset coverage, runs the suite (-t:
# what an earlier run has counted is reported as it is), and prints the share of lines by room, of all,
# and the files that lie below. Fails under 90 %. Kernels for CPUs that are not here count like all
# else.
set -eu
cd "$(dirname "$0")/.."
least=90
build=build/coverage
if [ "${1:-}" != -t ]; then
    cmake --preset coverage >/dev/null
    cmake --build --preset coverage
    find $build -name '*.gcda' -delete
    # Speed and the form of sources say nothing about lines.
    ctest --preset coverage --timeout 1800 -j "$(nproc 2>/dev/null || echo 2)" \
        -E '^(check_|cli_published|package|inject|manual)' || true
fi

# gcov's "File 'src/x.c'" is followed by "Lines executed:P% of N".
report=$(mktemp)
trap 'rm -f "$report"' EXIT
find $build/CMakeFiles/vitro_objects.dir -name '*.gcda' | sort | while read -r data; do
    gcov -n "$data" 2>/dev/null
done | awk -v root="$PWD/" '
/^File / {
    file = $2
    gsub(/\047/, "", file)
    sub(/^(\.\.\/)+/, "", file)
    if (index(file, root) == 1)
        file = substr(file, length(root) + 1)
    sub(/^.*\/\.\.\/src\//, "src/", file)
}
/^Lines executed:/ && file ~ /^src\// {
    split($0, part, /[:%]| of /)
    run = part[2] / 100 * part[4]
    if (run > best[file])
        best[file] = run
    if (part[4] > lines[file])
        lines[file] = part[4]
    file = ""
}
END { for (f in lines) printf "%s %d %d\n", f, best[f] + 0.5, lines[f] }' | sort >"$report"
[ -s "$report" ] || { echo "coverage: nothing was counted" >&2; exit 1; }

# Files that no test has run anything of. (Kernels stand in .inc files, which are counted.)
for source in $(find src -name '*.c' -not -path 'src/kernels/*' | sort); do
    [ -f "$build/CMakeFiles/vitro_objects.dir/$source.gcda" ] ||
        echo "coverage: $source: nothing of it was run" >&2
done

awk -v least=$least '
{
    split($1, part, "/")
    run[part[2]] += $2
    lines[part[2]] += $3
    all_run += $2
    all += $3
    if ($2 * 100 < $3 * least)
        low[++n] = sprintf("  %5.1f %%  %4d of %4d  %s", 100 * $2 / $3, $2, $3, $1)
}
END {
    for (room in run)
        printf "%-9s %6.1f %%  of %5d lines\n", room, 100 * run[room] / lines[room], lines[room] | "sort"
    close("sort")
    printf "src       %6.1f %%  of %5d lines\n", 100 * all_run / all, all
    if (n)
        print "below " least " %:"
    for (i = 1; i <= n; i++)
        print low[i]
    exit all_run * 100 < all * least
}' "$report"
