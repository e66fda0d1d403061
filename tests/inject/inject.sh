#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# inject.sh INJECT SHIM VITRO MAKE_FIXTURES [options of inject.c]: runs it in a folder of its own.
set -eu
inject=$1 shim=$2 vitro=$3 make_fixtures=$4
shift 4
room=$(mktemp -d "${TMPDIR:-/tmp}/vitro-inject.XXXXXX")
trap 'rm -rf "$room"' EXIT
trap 'exit 1' INT TERM
"$make_fixtures" "$room"
"$inject" "$shim" "$vitro" "$room" "$@"
