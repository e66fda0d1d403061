#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check_manual.sh VITRO FOLDER: the manual pages and completions that the build left in FOLDER are in
# form and hold every option of every command.
set -eu
vitro=$1 folder=$2
fail() { echo "manual: $*" >&2; exit 1; }

# The pages are undated on purpose: they are a function of the program.
lint() { if grep -v 'missing date'; then fail "$1: see above"; fi; }
for page in "$folder"/*.1; do
    ! command -v groff >/dev/null || { groff -ww -man -Tutf8 "$page" 2>&1 >/dev/null | lint "$page"; }
    ! command -v mandoc >/dev/null || { mandoc -Tlint -Wwarning "$page" 2>&1 | lint "$page"; }
done

bash -n "$folder/vitro.bash"
# shellcheck source=/dev/null
. "$folder/vitro.bash"
# What is offered behind these words.
offered() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _vitro
    echo "${COMPREPLY[*]-}"
}
options=0
commands=$("$vitro" --help=commands)
for command in $commands; do
    [ -s "$folder/vitro-$command.1" ] || fail "there is no page of vitro $command"
    grep -q "vitro..$command (1)" "$folder/vitro.1" || fail "vitro(1) does not name $command"
    all=$(offered vitro "$command" --)
    for option in $("$vitro" "$command" --help | sed -n 's/^  --\([a-z0-9-]*\).*/\1/p'); do
        grep -q "^.fB....${option//-/\\\\-}.fR" "$folder/vitro-$command.1" ||
            fail "vitro-$command(1) does not have --$option"
        [[ " $all " = *" --$option "* ]] || fail "bash is not told of vitro $command --$option"
        grep -q -- "'--$option\[" "$folder/_vitro" || fail "zsh is not told of --$option"
        options=$((options + 1))
    done
done
[ $options -gt 100 ] || fail "found only $options options"
expect() {
    expected=$1
    shift
    found=$(offered "$@")
    [ "$found" = "$expected" ] || fail "behind '$*': '$found' is offered, expected '$expected'"
}
expect "predict pull" vitro p
expect "--top-k" vitro predict --to
expect "sgd adamw" vitro train --optimizer ""
expect "adamw" vitro train --optimizer = a
expect "--split" vitro eval --json --sp
expect "" vitro predict tul
if command -v zsh >/dev/null; then
    zsh -n "$folder/_vitro"
fi

# A form that does not exist is refused, by the program and by a command.
for words in --help=html "predict --help=html"; do
    # shellcheck disable=SC2086  # two words
    status=0 && "$vitro" $words >/dev/null 2>&1 || status=$?
    [ $status = 2 ] || fail "vitro $words: status $status, expected 2"
done
echo "manual: $options options"
