#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/fresh-machine.sh [--suite bookworm|trixie]... [--step deps|demo|test|user|package]... [--keep DIR]
#
# Proves ./demo and ./test on bare machines: makes a debootstrap --variant=minbase root of each
# suite, clones HEAD of this repository into it, and runs there, with nothing but git installed:
#   deps  scripts/deps.sh, the release build, and deps.sh once more (which must find nothing to do)
#   test  ./test as root                demo  ./demo as root
#   user  in a second clone, ./test and ./demo as a user who has sudo
#   package  scripts/package.sh with lintian; then, in another bare root, nothing but `apt install` of
#         the package, a training step and a prediction with it, and a foreign CMake project
# Default: both suites, steps "demo test user". Needs root, debootstrap and git; takes the mirror
# and the proxy settings from this machine's apt. --keep keeps the roots, under DIR, for a look.
set -euo pipefail
cd "$(dirname "$0")/.."

suites=() steps=() keep=
while [ $# -gt 0 ]; do
    case $1 in
    --suite) suites+=("$2"); shift 2 ;;
    --step) steps+=("$2"); shift 2 ;;
    --keep) keep=$2; shift 2 ;;
    *) sed -n '3,14s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done
[ ${#suites[@]} -gt 0 ] || suites=(bookworm trixie)
[ ${#steps[@]} -gt 0 ] || steps=(demo test user)
[ "$(id -u)" = 0 ] || { echo "fresh-machine: must run as root (debootstrap, chroot)" >&2; exit 1; }
command -v debootstrap >/dev/null ||
    { echo "fresh-machine: needs debootstrap (apt-get install debootstrap)" >&2; exit 1; }
[ -z "$(git status --porcelain)" ] || echo "fresh-machine: note: only what is committed is tested"

mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list \
    /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '
    /^URIs:/ { print $2; exit }
    /^deb / { for (i = 2; i <= NF; i++) if ($i ~ /^http/) { print $i; exit } }' || true)
mirror=${mirror:-http://deb.debian.org/debian}
base=${keep:-$(mktemp -d)}
mkdir -p "$base"

leave() {
    local root=$1
    for mount in dev proc sys; do
        ! mountpoint -q "$root/$mount" || umount "$root/$mount"
    done
}
finish() {
    for suite in "${suites[@]}"; do
        leave "$base/$suite"
        leave "$base/$suite-bare"
    done
    [ -n "$keep" ] || rm -rf --one-file-system "$base"
}
trap finish EXIT

# A bare root of suite $1 in $2, with this machine's way to the network.
make_root() {
    local suite=$1 root=$2
    [ -x "$root/usr/bin/apt-get" ] ||
        debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$base/$suite.debootstrap.log"
    cp /etc/apt/apt.conf.d/99* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
    mountpoint -q "$root/dev" || mount --bind /dev "$root/dev"
    mountpoint -q "$root/sys" || mount -t sysfs sys "$root/sys"
    inside "$root" 'apt-get -qq update' >"$base/$suite.update.log" 2>&1
}

# The same with git and a clone of HEAD.
prepare() {
    local suite=$1 root=$2
    make_root "$suite" "$root"
    inside "$root" 'apt-get -qq -y --no-install-recommends install git' \
        >"$base/$suite.git.log" 2>&1
    rm -rf "$root/srv/source" "$root/srv/vitro"
    git clone -q --bare . "$root/srv/source"
    inside "$root" "git clone -q /srv/source /srv/vitro &&
        git -C /srv/vitro checkout -q $(git rev-parse HEAD)"
}

inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive \
        chroot "$1" /bin/sh -c "$2"
}

# Installs the package of $1 in the bare root $2, as a user would, and uses it.
use_package() {
    local root=$1 bare=$2
    rm -rf "$bare/srv/use"
    mkdir -p "$bare/srv/use"
    cp "$root"/srv/vitro/build/package/vitro_*.deb "$bare/srv/use/"
    cp -r tests/package "$bare/srv/use/foreign"
    inside "$bare" 'cd /srv/use && apt-get -qq -y install ./vitro_*.deb && vitro --version &&
        for class in dark light; do
            mkdir -p pictures/$class
            for i in 1 2 3 4; do
                { printf "P5 16 16 255\n"; head -c 256 /dev/zero |
                    if [ $class = light ]; then tr "\000" "\37$i"; else cat; fi
                } >pictures/$class/$i.pgm
            done
        done &&
        vitro train --data-path pictures --model-name vit_tiny_patch4_32 --img-size 16 \
            --embed-dim 32 --depth 2 --num-heads 2 --epochs 20 --batch-size 4 --lr 0.01 &&
        vitro predict --weights weights/model-19.pth pictures/light/1.pgm | tee said &&
        grep -q "^class: light " said && ls /usr/share/man/man1/vitro.1.gz \
            /usr/share/bash-completion/completions/vitro \
            /usr/share/zsh/vendor-completions/_vitro &&
        apt-get -qq -y --no-install-recommends install cmake gcc g++ libc6-dev make &&
        cmake -S foreign/cmake -B build && cmake --build build && build/foreign_c &&
        build/foreign_cpp'
}

step() {
    local root=$1
    case $2 in
    deps)
        inside "$root" 'cd /srv/vitro && scripts/deps.sh --demo && cmake --preset release >/dev/null &&
            cmake --build --preset release && PATH=$PATH scripts/deps.sh --demo' ;;
    test) inside "$root" 'cd /srv/vitro && ./test' ;;
    demo)
        inside "$root" 'cd /srv/vitro && ./demo' | tee "$root/srv/demo.out"
        tail -n 1 "$root/srv/demo.out" | awk '{ exit !($1 == "accuracy" && $2 >= 0.85) }' ;;
    user)
        inside "$root" 'apt-get -qq -y --no-install-recommends install sudo >/dev/null &&
            { id walker >/dev/null 2>&1 || useradd -m walker; } &&
            echo "walker ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/walker &&
            rm -rf /home/walker/vitro && git config --system --add safe.directory "*" &&
            su walker -c "cd && git clone -q /srv/source vitro && cd vitro && ./test && ./demo"' ;;
    package)
        inside "$root" 'apt-get -qq -y --no-install-recommends install dpkg-dev debhelper lintian \
            >/dev/null && cd /srv/vitro && apt-get -qq -y build-dep ./ >/dev/null &&
            scripts/package.sh' &&
            make_root "$(basename "$root")" "$root-bare" && use_package "$root" "$root-bare" ;;
    *) echo "fresh-machine: no step '$2'" >&2; return 2 ;;
    esac
}

failed=0
for suite in "${suites[@]}"; do
    root=$base/$suite
    prepare "$suite" "$root" || { echo "fresh-machine: no $suite root could be made" >&2; exit 1; }
    for name in "${steps[@]}"; do
        began=$SECONDS
        if step "$root" "$name" >"$base/$suite.$name.log" 2>&1; then
            echo "$suite $name: passed in $((SECONDS - began)) s:" \
                "$(tail -n 1 "$base/$suite.$name.log")"
        else
            echo "$suite $name: FAILED after $((SECONDS - began)) s; its last lines:"
            tail -n 40 "$base/$suite.$name.log"
            failed=1
        fi
    done
done
exit $failed
