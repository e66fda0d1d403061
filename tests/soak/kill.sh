#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/soak/kill.sh [N]: N kills at random moments (200), and a kill, a full disk, an I/O error, an
# interruption and a short write at every single call that changes a file; minutes. Needs the
# release build.
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build/release}
tests/crash/kill.sh "$PWD/$build/vitro" "$PWD/$build/tests/make_fixtures" "${1:-200}" &&
    tests/crash/sweep.sh "$PWD/$build/vitro" "$PWD/$build/tests/make_fixtures" \
        "$PWD/$build/tests/libfault.so" 1
