#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_module.sh PYTHON LIBRARY VITRO: the tests of python/vitro with this build, and mypy where it is
# there.
set -eu
python=$1
export VITRO_LIBRARY="$2" VITRO_PROGRAM="$3"
"$python" -c 'import numpy' 2>/dev/null || { echo "run_module: Python has no numpy here"; exit 77; }
"$python" -B -m unittest discover -s python/tests
if "$python" -c 'import mypy' 2>/dev/null; then
    "$python" -m mypy --strict --cache-dir=/dev/null python/vitro
else
    echo "run_module: mypy is not here: types are not checked"
fi
