#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# signal.sh VITRO MAKE_FIXTURES [N]: ends training runs by SIGINT and SIGTERM at N random moments (8):
# the step is finished, the state saved, the status 130 or 143; what goes on ends in the same bytes.
# Then two signals at once, which end a run without more ado.
# shellcheck disable=SC2034 # lib.sh uses them
VITRO=$1 MAKE_FIXTURES=$2 wanted=${3:-8}
# shellcheck disable=SC2034
EPOCHS=6
# shellcheck source=tests/crash/lib.sh
. "$(dirname "$0")/lib.sh"
failures=0
fail() {
    echo "$1"
    sed 's/^/    /' found.err
    failures=$((failures + 1))
}
(run whole) || { cat whole.err; exit 1; }

# started: waits until the run has come to its first checkpoint, or is over.
started() {
    until [ -f found/model-0.pth ] || ! kill -0 "$1" 2>/dev/null; do sleep 0.02; done
}

state=${SEED:-1} stops=0 tries=0 # POSIX sh starts what runs in the background with SIGINT ignored
while [ "$stops" -lt "$wanted" ] && [ "$tries" -lt $((10 * wanted)) ]; do
    tries=$((tries + 1))
    state=$(((state * 1103515245 + 12345) % 2147483648))
    signal=TERM expected=143
    [ $((state / 65536 % 2)) -eq 0 ] && signal=INT expected=130
    (run found --workers $((state / 131072 % 3))) &
    process=$!
    started $process
    sleep "0.$((100 + state / 262144 % 400))"
    kill -$signal $process 2>/dev/null
    wait $process
    status=$?
    case $status in
    0) # it was over before
        same "after $stops stops" || failures=$((failures + 1))
        forget
        ;;
    "$expected")
        stops=$((stops + 1))
        grep -q "^SIG$signal: stopped after [0-9]* steps; the state is saved" found.err ||
            fail "SIG$signal: the state was not told to be saved"
        ;;
    *) fail "SIG$signal: exit status $status, expected $expected" ;;
    esac
done
[ "$stops" -ge "$wanted" ] || fail "only $stops runs were stopped"
(run found) || fail "going on: exit status $?"
same "after $stops stops" || failures=$((failures + 1))

# Both signals wait while the process is stopped, and come together.
forget
# shellcheck disable=SC2034
EPOCHS=100000
(run found) &
process=$!
started $process
kill -STOP $process && kill -INT $process && kill -TERM $process && kill -CONT $process
wait $process
status=$?
[ $status -eq 130 ] || [ $status -eq 143 ] || fail "two signals: exit status $status"
grep -q stopped found.err && fail "two signals: it ended as after one"

echo "$stops runs were stopped, $failures failures"
[ "$failures" -eq 0 ]
