#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kill.sh VITRO MAKE_FIXTURES [N]: kills training runs at N random moments (10), each time goes on
# with --resume latest, with another number of threads and workers, and holds what is left in the
# end against a run that was not interrupted, byte for byte. SEED=n chooses other moments.
# shellcheck disable=SC2034 # lib.sh uses them
VITRO=$1 MAKE_FIXTURES=$2 wanted=${3:-10}
# shellcheck source=tests/crash/lib.sh
. "$(dirname "$0")/lib.sh"

began=$(date +%s%N)
(run whole) || { cat whole.err; exit 1; }
length=$((($(date +%s%N) - began) / 1000000)) # ms

# The next of a sequence of numbers in 0..$1-1
state=${SEED:-1}
draw() {
    state=$(((state * 1103515245 + 12345) % 2147483648))
    drawn=$((state / 65536 % $1))
}

kills=0 runs=0 failures=0 tries=0
while [ "$kills" -lt "$wanted" ] && [ "$tries" -lt $((20 * wanted + 20)) ]; do
    tries=$((tries + 1))
    draw 3 && workers=$drawn
    draw 2 && threads=$((drawn + 1))
    draw "$((length + 20))" && moment=$drawn
    (run found --workers "$workers" --threads "$threads") &
    process=$!
    sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
    kill -KILL $process 2>/dev/null
    { wait $process; } 2>/dev/null
    status=$?
    if [ $status -eq 137 ]; then
        kills=$((kills + 1))
    elif [ $status -eq 0 ]; then
        runs=$((runs + 1))
        same "run $runs" || failures=$((failures + 1))
        forget
    else
        echo "after $kills kills: exit status $status"
        cat found.err
        exit 1
    fi
done
# What the last kill left is brought to its end.
(run found) || { cat found.err; exit 1; }
runs=$((runs + 1))
same "run $runs" || failures=$((failures + 1))
echo "$kills kills in $runs runs of $length ms, $failures of them with other files"
[ "$failures" -eq 0 ] && [ "$kills" -ge "$wanted" ]
