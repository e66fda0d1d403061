#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# inject.sh [COMMAND...]: every allocation, open, read, write and commit of the commands in
# tests/inject/inject.c (default: all) made to fail, one run for each; minutes. The release must be
# built.
set -eu
cd "$(dirname "$0")/.."
b=$PWD/build/release/tests
exec tests/inject/inject.sh "$b/inject/inject" "$b/inject/inject_shim.so" "$PWD/build/release/vitro" \
    "$b/make_fixtures" "$@"
