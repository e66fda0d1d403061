# SPDX-License-Identifier: Apache-2.0
# Results go to stdout, all else to stderr; a full disk is an error, a closed pipe is not our fault.
"$VITRO" predict --weights bare.safetensors --num-heads 2 --top-k 1 a.ppm 2>err
cat err
"$VITRO" predict --weights missing.pth a.ppm 2>/dev/null
if [ -c /dev/full ]; then
    "$VITRO" predict --weights model.pth a.ppm 2>err >/dev/full
    echo "exit $?"
    cat err
else
    echo "exit 1"
    echo "vitro: error: standard output: No space left on device"
fi
"$VITRO" predict --weights model.pth --json a.ppm a.ppm a.ppm a.ppm 2>err | true
cat err
# A closed stream is no file that results could be written into.
"$VITRO" predict --weights model.pth --dump-input input.npy a.ppm 2>err >&-
echo "exit $?"
cat err
ls input.npy 2>/dev/null
"$VITRO" predict --weights model.pth --top-k 1 --dump-input input.npy a.ppm 2>&-
wc -c <input.npy
