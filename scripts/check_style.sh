#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a compiler does not refuse and we do: banned calls, long lines, long files, missing licence
# lines, unfinished places. Comments and strings are set aside before calls are looked for.
set -eu
cd "$(dirname "$0")/.."

sources=$(find src include cli tests examples bench fuzz \
    -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.inc' 2>/dev/null | sort)
# shellcheck disable=SC2086  # a list; no file of ours has a blank in its name
awk '
# The line without comments and without the insides of strings.
function code(s,    out, c, two) {
    out = ""
    while (s != "") {
        c = substr(s, 1, 1)
        two = substr(s, 1, 2)
        if (in_comment) {
            if (two == "*/") { in_comment = 0; s = substr(s, 3) } else s = substr(s, 2)
        } else if (two == "/*") {
            in_comment = 1
            s = substr(s, 3)
        } else if (two == "//") {
            return out
        } else if (c == "\"" || c == "\047") {
            if (match(substr(s, 2), c == "\"" ? "^([^\"\\\\]|\\\\.)*\"" : "^([^\047\\\\]|\\\\.)*\047")) {
                out = out c c
                s = substr(s, 2 + RLENGTH)
            } else { out = out c; s = substr(s, 2) }
        } else { out = out c; s = substr(s, 2) }
    }
    return out
}
function complain(what) { print FILENAME ":" FNR ": " what; bad = 1 }
function calls(text, name) { return text ~ ("(^|[^A-Za-z0-9_.>])(" name ")[ \t]*\\(") }
FNR == 1 {
    in_comment = 0
    library = FILENAME ~ /^src\//
    files++
    if ($0 !~ /SPDX-License-Identifier: Apache-2\.0/)
        complain("the first line must hold SPDX-License-Identifier: Apache-2.0")
}
length($0) > 100 { complain("longer than 100 columns") }
/\t/ { complain("a tab") }
/[ \t]$/ { complain("white space at the end") }
FNR == 901 && FILENAME ~ /^(src|cli|include)\// { complain("more than 900 lines in one file") }
/(^|[^A-Za-z_])(TO[D]O|FIX[M]E|XX[X]|HAC[K])([^A-Za-z_]|$)/ { complain("an unfinished place") }
{
    text = code($0)
    if (calls(text, "strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atof|strtok|rand|srand"))
        complain("a banned call: strcpy, strcat, sprintf, gets, atoi, strtok and rand stay out")
    # What another library allocated may be given back to it where the line says so.
    if (library && FILENAME !~ /^src\/base\/alloc\.c$/ && $0 !~ /own allocation \*\/$/ &&
        calls(text, "malloc|calloc|realloc|free|strdup|strndup|asprintf|aligned_alloc|posix_memalign"))
        complain("memory comes from base/alloc.h")
    if (library && calls(text, "printf|vprintf|puts|putchar|perror|exit|_exit|abort|system"))
        complain("the library neither prints nor exits")
    if (library && text ~ /(^|[^A-Za-z0-9_])(stdout|stderr)([^A-Za-z0-9_]|$)/)
        complain("the library does not know stdout and stderr")
}
END {
    if (files < 10) {
        print "check_style: found only " files + 0 " files"
        exit 1
    }
    if (!bad)
        print "check_style: " files " files are in form"
    exit bad
}' $sources || exit 1

bad=0
for file in demo test .ci/run CMakeLists.txt $(find scripts tests -name '*.sh' -o -name '*.py' \
    -o -name CMakeLists.txt); do
    [ -f "$file" ] || continue
    head -n 3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || {
        echo "$file: no SPDX line among the first three"
        bad=1
    }
done
exit $bad
