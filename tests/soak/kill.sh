#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/soak/kill.sh [N [STRIDE]]: N kills at random moments (200); then at every STRIDE-th call (7)
# that changes a file a kill, a full disk, an I/O error, an interruption and short writes. Minutes; 1
# tries every single call, which takes an hour. Needs the release build.
cd "$(dirname "$0")/../.." || exit 1
build=$PWD/${BUILD:-build/release}
tests/crash/kill.sh "$build/vitro" "$build/tests/make_fixtures" "${1:-200}" &&
    tests/crash/sweep.sh "$build/vitro" "$build/tests/make_fixtures" "$build/tests/libfault.so" \
        "${2:-7}"
