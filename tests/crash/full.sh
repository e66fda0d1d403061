#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# full.sh VITRO MAKE_FIXTURES: what writes a file meets a limit of its size, a full disk (a small
# tmpfs, where one can be mounted), a folder that is read-only or gone. Each is told in one line,
# the old file stays, nothing is left beside it, and a run goes on afterwards.
# shellcheck disable=SC2034 # lib.sh uses them
VITRO=$1 MAKE_FIXTURES=$2
# shellcheck disable=SC2034
EPOCHS=2
# shellcheck source=tests/crash/lib.sh
. "$(dirname "$0")/lib.sh"
failures=0
fail() {
    echo "$1"
    [ -f said ] && sed 's/^/    /' said
    failures=$((failures + 1))
}

# refused WHAT FILE STATUS: `said` ends in one line of error, FILE is what it was.
refused() {
    [ "$3" -eq 1 ] || fail "$1: exit status $3, expected 1"
    [ "$(grep -c '^vitro: error: ' said)" -eq 1 ] || fail "$1: expected one line of error"
    [ "$(cat "$2")" = old ] || fail "$1: $2 is not what it was"
    [ -z "$(find . -name '*.vitro-tmp')" ] || fail "$1: left $(find . -name '*.vitro-tmp')"
}

# limited BLOCKS COMMAND...: output goes through a pipe, which the limit does not concern.
limited() {
    blocks=$1 && shift
    {
        (ulimit -f "$blocks" && "$@") 2>&1
        echo $? >status.$$
    } | cat >said
    return "$(cat status.$$)"
}

# each COMMAND that writes FILE...
while read -r file command; do
    echo old >"$file"
    # shellcheck disable=SC2086  # several words
    limited 0 "$VITRO" $command
    refused "limit of size: $command" "$file" $?
done <<'COMMANDS'
a.safetensors convert model.pth a.safetensors
a.npz convert model.pth a.npz
a.pth convert model.safetensors a.pth
a.png predict --weights model.pth --plot a.png a.ppm
a.npy predict --weights model.pth --dump-input a.npy a.ppm
a.csv eval --weights model.pth --data-path flowers --confusion a.csv
c.png eval --weights model.pth --data-path flowers --confusion-plot c.png
COMMANDS

# intact WHAT: the run that failed goes on to the same end.
intact() {
    [ -z "$(find found -name '*.vitro-tmp')" ] || fail "$1: left $(find found -name '*.vitro-tmp')"
    (run found) || fail "$1: going on: exit status $?: $(cat found.err)"
    same "$1" || failures=$((failures + 1))
}
(run whole) || { cat whole.err; exit 1; }
(run found --max-steps 5) || fail "the first steps: $(cat found.err)"
(ulimit -f 60 && run found) # 30 KB: less than a checkpoint
status=$?
cp found.err said
[ $status -eq 1 ] && grep -q 'cannot write: File too large' said ||
    fail "training with a limit of size: exit status $status"
intact "training with a limit of size"

if [ "$(id -u)" -eq 0 ]; then
    forget
    (run found --max-steps 5) || fail "the first steps: $(cat found.err)"
    mv found full && mkdir found
    if mount -t tmpfs -o size=$(($(du -sk full | cut -f1) + 60))k vitro-test found 2>/dev/null; then
        # shellcheck disable=SC2154
        trap 'umount found 2>/dev/null; rm -rf "$room"' EXIT
        cp full/* found/
        (run found)
        status=$?
        cp found.err said
        [ $status -eq 1 ] && grep -q 'No space left on device' said ||
            fail "training on a full disk: exit status $status"
        [ "$(grep -c '^vitro: error: ' said)" -eq 1 ] || fail "a full disk: one line"
        [ -z "$(find found -name '*.vitro-tmp')" ] || fail "a full disk: something is left behind"
        mkdir kept && cp found/* kept/
        umount found && cp kept/* found/
        intact "training on a full disk"
    else
        rmdir found
        echo "no tmpfs can be mounted here: the full disk is left out"
    fi
else
    # root may write everywhere
    forget
    (run found --max-steps 5) || fail "the first steps: $(cat found.err)"
    chmod 555 found
    (run found)
    status=$?
    chmod 755 found
    cp found.err said
    [ $status -eq 1 ] && grep -q 'Permission denied' said || fail "read-only: exit status $status"
    intact "training in a read-only folder"
fi

# The folder goes away under a run.
forget
# shellcheck disable=SC2034
EPOCHS=100000
(run found) &
process=$!
until [ -f found/model-0.pth ] || ! kill -0 $process 2>/dev/null; do sleep 0.05; done
mv found away
wait $process
status=$?
cp found.err said
[ $status -eq 1 ] && [ "$(grep -c '^vitro: error: ' said)" -eq 1 ] &&
    grep -q 'No such file or directory' said || fail "a folder that is gone: exit status $status"
[ -d found ] && fail "a folder that is gone: it was made anew"

[ "$failures" -eq 0 ] && echo "every full disk is told, nothing is lost"
