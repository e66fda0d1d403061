#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# peers.sh [--quick] [--model NAME] [--batch-size 1,8] [--threads N] ...: times Vitro beside PyTorch
# and ONNX Runtime on this machine and prints Markdown tables (peers.py says what and how).
#
# The peers go into a virtual environment in the temporary folder, or in $VITRO_PEERS_VENV; one that
# is there already is taken as it is. Nothing of Vitro needs them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${VITRO_PEERS_VENV:-${TMPDIR:-/tmp}/vitro-peers-$(id -u)}
python=$venv/bin/python

case " $* " in
*" --help "* | *" -h "*) exec python3 "$here/peers.py" --help ;;
esac
if ! "$python" -c 'import torch, onnx, onnxscript, onnxruntime, safetensors' 2>/dev/null; then
    echo "peers: installing PyTorch and ONNX Runtime into $venv" >&2
    python3 -m venv "$venv"
    "$python" -m pip install --quiet --disable-pip-version-check \
        torch onnx onnxscript onnxruntime numpy safetensors >&2
fi
exec "$python" "$here/peers.py" "$@"
