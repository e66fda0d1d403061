#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# make_manual.sh VITRO FOLDER: manual pages of the program and of its commands, and completion for
# bash and zsh, written to FOLDER.
set -eu
vitro=$1 folder=$2
rm -rf "$folder"
mkdir -p "$folder"
for command in $("$vitro" --help=commands); do
    "$vitro" "$command" --help=man >"$folder/vitro-$command.1"
done
"$vitro" --help=bash >"$folder/vitro.bash"
"$vitro" --help=zsh >"$folder/_vitro"
"$vitro" --help=man >"$folder/vitro.1" # last: what the build looks at
