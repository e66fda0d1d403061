#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# scripts/package.sh [FOLDER]: builds the Debian package vitro_<version>_<architecture>.deb for the
# release of Debian that it runs on, in FOLDER (default: build/package), and checks it with lintian
# where that is installed: an error of lintian's is an error here. What it takes to build stands in
# debian/control; apt-get build-dep ./ installs it.
set -eu
cd "$(dirname "$0")/.."
out=${1:-build/package}
fail() { echo "package.sh: $*" >&2; exit 1; }

command -v dpkg-buildpackage >/dev/null ||
    fail "needs dpkg-buildpackage (apt-get install dpkg-dev debhelper)"
version=$(sed -n 's/^project(vitro VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
said=$(sed -n '1s/^vitro (\([^)]*\)).*/\1/p' debian/changelog)
[ "$version" = "$said" ] || fail "CMakeLists.txt says version '$version', debian/changelog '$said'"

mkdir -p "$out"
out=$(cd "$out" && pwd)
tree=$out/vitro-$version
rm -rf "$tree" "$out"/vitro_* "$out"/vitro-dbgsym_*
mkdir "$tree"
# What is in git is the source; what was built here is not.
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [ ! -e "$file" ] || printf '%s\0' "$file"
done | tar --null -cf - -T - | tar -xf - -C "$tree"
(cd "$tree" && dpkg-buildpackage -b -us -uc) >"$out/build.log" 2>&1 ||
    { tail -n 20 "$out/build.log"; fail "dpkg-buildpackage failed; the log is $out/build.log"; }
rm -rf "$tree"
deb=$(ls "$out"/vitro_"$version"_*.deb)
if command -v lintian >/dev/null; then
    lintian --fail-on error --display-info "$deb" >"$out/lintian.log" 2>&1 ||
        { cat "$out/lintian.log"; fail "lintian finds errors"; }
    echo "package.sh: lintian: no errors, $(grep -c '^W:' "$out/lintian.log") warnings"
else
    echo "package.sh: lintian is not here: the package is not checked"
fi
echo "$deb"
