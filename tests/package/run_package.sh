#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_package.sh BUILD CMAKE CC SONAME [CFLAGS]: installs the build BUILD twice, with --prefix and with
# DESTDIR, and builds and runs programs of others on it: a CMake project in C and C++, a Makefile
# with pkg-config, and the examples, by the command lines that their heads give.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$1 cmake=$2 cc=$3 soname=$4 flags=${5:-}
work=$build/package-test
prefix=$work/prefix
rm -rf "$work"
mkdir -p "$work/make"
say() { echo "package: $*"; }
fail() { echo "package: $*" >&2; exit 1; }

"$cmake" --install "$build" --prefix "$prefix" >"$work/install.log" ||
    { tail -n 5 "$work/install.log"; fail "cmake --install failed"; }
for file in bin/vitro include/vitro/vitro.h share/man/man1/vitro.1 share/man/man1/vitro-train.1 \
    share/bash-completion/completions/vitro share/zsh/site-functions/_vitro \
    share/doc/vitro/docs/LIBRARY.md share/doc/vitro/examples/predict.c; do
    [ -f "$prefix/$file" ] || fail "$file was not installed"
done
for header in include/vitro/*.h; do
    cmp -s "$header" "$prefix/$header" || fail "$header was not installed as it is"
done
"$prefix/bin/vitro" --version >/dev/null || fail "the installed command does not run"
library=$(find "$prefix" -name libvitro.so)
found=$(objdump -p "$library" | awk '$1 == "SONAME" { print $2 }')
[ "$found" = "$soname" ] || fail "the library calls itself '$found', expected '$soname'"
say "installed: $(find "$prefix" -type f | wc -l) files"

# ---- a CMake project ----
"$cmake" -S "$here/cmake" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" \
    -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags" >"$work/cmake.log" 2>&1 ||
    { tail -n 20 "$work/cmake.log"; fail "find_package(vitro) failed"; }
"$cmake" --build "$work/cmake" >>"$work/cmake.log" 2>&1 ||
    { tail -n 20 "$work/cmake.log"; fail "the CMake project does not build"; }
"$work/cmake/foreign_c"
if [ -x "$work/cmake/foreign_cpp" ]; then
    "$work/cmake/foreign_cpp"
else
    say "no C++ compiler is here: C only"
fi

# ---- a Makefile with pkg-config ----
pc=$(dirname "$(find "$prefix" -name vitro.pc)")
export PKG_CONFIG_PATH="$pc"
make -C "$here/make" OUT="$work/make" CC="$cc" CFLAGS="$flags" >"$work/make.log" 2>&1 ||
    { cat "$work/make.log"; fail "the Makefile does not build"; }
"$work/make/foreign"

# ---- the examples, as their heads say ----
for source in examples/*.c; do
    name=$(basename "$source" .c)
    # shellcheck disable=SC2046,SC2086  # lists of flags
    "$cc" $flags "$source" $(pkg-config --cflags --libs vitro) -o "$work/make/$name" ||
        fail "$source does not build as its head says"
done

# ---- the static library, with what vitro.pc says that it stands on ----
# (pkg-config --static would ask for the static closure of all of these, too.)
# shellcheck disable=SC2046,SC2086
"$cc" $flags "$here/foreign.c" $(pkg-config --cflags vitro) "$(dirname "$pc")/libvitro.a" \
    $(pkg-config --libs $(pkg-config --print-requires-private vitro | cut -d' ' -f1)) \
    $(sed -n 's/^Libs.private: //p' "$pc/vitro.pc") -o "$work/make/static" 2>"$work/static.log" ||
    { tail -n 5 "$work/static.log"; fail "libvitro.a does not link"; }
"$work/make/static"

# ---- the tree may be moved ----
mv "$prefix" "$work/moved"
include=$(PKG_CONFIG_PATH=$work/moved/${pc#"$prefix"/} pkg-config --variable=includedir vitro)
[ -f "$include/vitro/vitro.h" ] || fail "once moved, vitro.pc names $include"
"$cmake" -S "$here/cmake" -B "$work/cmake-moved" -DCMAKE_PREFIX_PATH="$work/moved" \
    -DCMAKE_C_COMPILER="$cc" >"$work/cmake.log" 2>&1 ||
    { tail -n 20 "$work/cmake.log"; fail "find_package(vitro) fails once the tree is moved"; }

# ---- DESTDIR, as packagers use it: the paths in the .pc file follow it ----
DESTDIR=$work/stage "$cmake" --install "$build" >"$work/stage.log"
pc=$(dirname "$(find "$work/stage" -name vitro.pc)")
include=$(PKG_CONFIG_PATH=$pc pkg-config --variable=includedir vitro)
[ -f "$include/vitro/vitro.h" ] || fail "vitro.pc names $include, where no header is"
say "passed"
