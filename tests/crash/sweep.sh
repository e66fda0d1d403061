#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sweep.sh VITRO MAKE_FIXTURES FAULT.so [STRIDE]: every STRIDE-th call (211) of a training run that
# changes a file is the last one before a kill, or finds the disk full, or fails; then the run goes
# on and must leave what an undisturbed one leaves. STRIDE 1 tries them all; KINDS names some faults.
# shellcheck disable=SC2034 # lib.sh uses them
VITRO=$1 MAKE_FIXTURES=$2 fault=$3 stride=${4:-211}
# shellcheck disable=SC2034
EPOCHS=2 SAVE_EVERY=3
# shellcheck source=tests/crash/lib.sh
. "$(dirname "$0")/lib.sh"
if ! LD_PRELOAD="$fault" "$VITRO" --version >/dev/null 2>&1; then
    echo "this build cannot be run with a preloaded library (a sanitizer)"
    exit 77
fi

# shellcheck disable=SC2034
FAULT_COUNT=$PWD/count preload=$fault
export FAULT_COUNT
(run whole) || { cat whole.err; exit 1; }
unset FAULT_COUNT
count=$(cat count) failures=0 tried=0
[ "$count" -gt 50 ] || { echo "only $count calls were counted"; exit 1; }

fail() {
    echo "$1"
    [ -f found.err ] && sed 's/^/    /' found.err
    failures=$((failures + 1))
}

# The call that fails is told in one line, and nothing half written is left.
told() {
    [ "$(grep -c '^vitro: error: ' found.err)" -eq 1 ] || fail "$1: expected one line of error"
    if [ -d found ] && [ -n "$(find found -name '*.vitro-tmp')" ]; then
        fail "$1: left behind: $(find found -name '*.vitro-tmp')"
    fi
}

for kind in ${KINDS:-kill enospc eio eintr short}; do
    n=1
    while [ "$n" -le "$count" ]; do
        forget
        # The shell would say "Killed".
        { (FAULT=$kind:$n && export FAULT && run found); } 2>/dev/null
        status=$?
        tried=$((tried + 1))
        case $kind-$status in
        kill-137 | *-0) ;;
        enospc-1 | eio-1) told "$kind at call $n" ;;
        *) fail "$kind at call $n: exit status $status" ;;
        esac
        case $kind-$status in
        eintr-0 | short-0) ;; # these disturb nothing
        *) (run found) || fail "$kind at call $n, then going on: exit status $?" ;;
        esac
        same "$kind at call $n" || failures=$((failures + 1))
        n=$((n + stride))
    done
done
echo "$tried faults at $count calls, $failures failures"
[ "$failures" -eq 0 ]
