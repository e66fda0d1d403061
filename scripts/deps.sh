#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# scripts/deps.sh [--demo] [--analysers]: installs what the build and the tests need and is not here
# yet; with --demo also the data of ./demo, with --analysers what .ci/run, scripts/lint.sh and
# scripts/fuzz.sh look with. Where nothing is missing it does nothing: no root, no network.
# With apt (Debian, Ubuntu) it installs, as root or through sudo. Elsewhere it says what is needed.
# docs/DEPENDENCIES.md tells what each library is for.
set -eu

demo=no
analysers=no
for arg in "$@"; do
    case $arg in
    --demo) demo=yes ;;
    --analysers) analysers=yes ;;
    -h | --help) sed -n '3,7s/^# //p' "$0"; exit 0 ;;
    *) echo "deps.sh: unknown option '$arg' (there are --demo and --analysers)" >&2; exit 2 ;;
    esac
done

# An option or a tool is worth having, but its absence stops nothing: the build then lacks what it is
# for, a check is left out.
# What to look for | its packages on: Debian | Fedora | Arch | Alpine | Homebrew
needs() {
    cat <<'TABLE'
program:gcc|gcc|gcc|gcc|gcc|gcc
header:stdio.h|libc6-dev|glibc-devel|glibc|musl-dev|-
header:omp.h|gcc|gcc|gcc|gcc|gcc
program:cmake|cmake|cmake|cmake|cmake|cmake
program:ninja|ninja-build|ninja-build|ninja|samurai|ninja
program:make|make|make|make|make|make
program:pkg-config|pkgconf|pkgconf-pkg-config|pkgconf|pkgconf|pkgconf
module:libjpeg|libjpeg62-turbo-dev|libjpeg-turbo-devel|libjpeg-turbo|libjpeg-turbo-dev|jpeg-turbo
module:libpng|libpng-dev|libpng-devel|libpng|libpng-dev|libpng
module:libwebp|libwebp-dev|libwebp-devel|libwebp|libwebp-dev|webp
module:libwebpdemux|libwebp-dev|libwebp-devel|libwebp|libwebp-dev|webp
module:cairo|libcairo2-dev|cairo-devel|cairo|cairo-dev|cairo
module:jansson|libjansson-dev|jansson-devel|jansson|jansson-dev|jansson
module:zlib|zlib1g-dev|zlib-devel|zlib|zlib-dev|zlib
option:libcurl|libcurl4-openssl-dev|libcurl-devel|curl|curl-dev|curl
option:libprotobuf-c|libprotobuf-c-dev|protobuf-c-devel|protobuf-c|protobuf-c-dev|protobuf-c
tool:protoc-c|protobuf-c-compiler|protobuf-c-compiler|protobuf-c|protobuf-c-compiler|protobuf-c
option:libarchive|libarchive-dev|libarchive-devel|libarchive|libarchive-dev|libarchive
module:cmocka|libcmocka-dev|libcmocka-devel|cmocka|cmocka-dev|cmocka
font:any|fonts-dejavu-core|dejavu-sans-fonts|ttf-dejavu|font-dejavu|-
TABLE
    if [ $demo = yes ]; then
        echo "file:/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz|dataset-fashion-mnist|-|-|-|-"
    fi
    if [ $analysers = yes ]; then
        cat <<'TABLE'
tool:clang|clang|clang|clang|clang|-
tool:fuzzer|libclang-rt-dev|compiler-rt|compiler-rt|compiler-rt|-
tool:openmp|libomp-dev|libomp-devel|openmp|openmp-dev|-
tool:clang-tidy|clang-tidy|clang-tools-extra|clang|clang-extra-tools|-
tool:cppcheck|cppcheck|cppcheck|cppcheck|cppcheck|-
tool:valgrind|valgrind|valgrind|valgrind|valgrind|-
tool:shellcheck|shellcheck|ShellCheck|shellcheck|shellcheck|-
TABLE
    fi
}

# Does clang compile and link the program on standard input with these options?
clang_links() {
    program=$(mktemp)
    clang "$@" -x c - -o "$program"
    rc=$?
    rm -f "$program"
    return $rc
}

# Is "kind:name" here?
present() {
    name=${1#*:}
    case $1 in
    tool:fuzzer) echo 'int LLVMFuzzerTestOneInput(const char *p, long n) { return !p * (int)n; }' |
        clang_links -fsanitize=fuzzer,address ;;
    tool:openmp) printf '#include <omp.h>\nint main(void) { return !omp_get_max_threads(); }\n' |
        clang_links -fopenmp ;;
    tool:*) command -v "$name" ;;
    program:*) command -v "$name" ;;
    header:*) printf '#include <%s>\n' "$name" | gcc -fopenmp -E -x c - ;;
    module:* | option:*) pkg-config --exists "$name" ;;
    font:*) find /usr/share/fonts /usr/local/share/fonts /Library/Fonts \
        \( -name '*.ttf' -o -name '*.otf' -o -name '*.ttc' \) | grep -q . ;;
    file:*) [ -f "$name" ] ;;
    esac >/dev/null 2>&1
}

# Column $1 (2: Debian, ...) of all that is missing, or with "required" of all but the options;
# column 1: what was looked for.
missing() {
    needs | while read -r line; do
        case ${2:-}:$line in required:option:* | required:tool:*) continue ;; esac
        present "${line%%|*}" || echo "$line" | cut -d'|' -f"$1"
    done | grep -v '^-$' | sort -u | tr '\n' ' '
}

# Ends what cannot go further: with success where only options are missing.
give_up() {
    [ -z "$(missing 1 required)" ] || exit 1
    echo "deps.sh: going on without $(missing 1)" >&2
    exit 0
}

lacking=$(missing 1)
[ -n "$lacking" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "Vitro needs, and this system lacks: $lacking" >&2
    echo "(module, option: a pkg-config name; options and tools may be left out)" >&2
    column=0
    for tool in dnf:3 pacman:4 apk:5 brew:6; do
        if command -v "${tool%:*}" >/dev/null; then
            column=${tool#*:}
            break
        fi
    done
    case $column in
    3) echo "Try: sudo dnf install $(missing 3)" >&2 ;;
    4) echo "Try: sudo pacman -S $(missing 4)" >&2 ;;
    5) echo "Try: sudo apk add $(missing 5)" >&2 ;;
    6) echo "Try: brew install $(missing 6)" >&2 ;;
    *) echo "Debian calls the packages: $(missing 2)" >&2 ;;
    esac
    case $lacking in
    *fashion-mnist*)
        echo "Fashion-MNIST: https://github.com/zalandoresearch/fashion-mnist, then ./demo --data DIR" >&2
        ;;
    esac
    give_up
fi

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "deps.sh: to install $(missing 2)this must run as root, or with sudo installed" >&2
        give_up
    }
    as_root=sudo
fi

# apt-get waits for dpkg's lock itself, but not for that of the package lists.
apt() {
    tries=0
    until $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
        -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1; do
        tries=$((tries + 1))
        if [ $tries -lt 60 ] && grep -q 'Could not get lock' "$log"; then
            sleep 5
            continue
        fi
        return 1
    done
}

# Do the package lists here know every one of them?
known() {
    for package in "$@"; do
        LC_ALL=C apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [^(]' || return 1
    done
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
packages=$(missing 2)
echo "installing $packages" >&2
# The lists may be absent, or older than the archive: they are renewed only where that shows.
# shellcheck disable=SC2086  # the packages are a list
if ! known $packages || ! apt install --no-install-recommends $packages; then
    apt update || { cat "$log" >&2; echo "deps.sh: apt-get update failed" >&2; give_up; }
    apt install --no-install-recommends $packages || {
        required=$(missing 2 required)
        [ -n "$required" ] && apt install --no-install-recommends $required
    } || {
        cat "$log" >&2
        echo "deps.sh: apt-get could not install: $packages" >&2
        give_up
    }
fi

lacking=$(missing 1)
[ -z "$lacking" ] || { echo "deps.sh: still missing after apt-get: $lacking" >&2; give_up; }
