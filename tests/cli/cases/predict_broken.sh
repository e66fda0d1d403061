# SPDX-License-Identifier: Apache-2.0
# A picture that cannot be read is reported, the others go on, the exit status is 1.
try predict --weights model.pth --top-k 1 a.ppm broken.ppm missing.ppm notes.txt b.ppm
try predict --weights model.pth --top-k 1 --json a.ppm broken.ppm missing.ppm b.ppm | hide_numbers
try predict --weights nan.pth a.ppm
try predict --weights model.pth broken.ppm --dump-input x.npy --plot out
ls x.npy out/* 2>/dev/null || echo nothing written
# What never ends, or never begins.
mkfifo pipe.ppm
try predict --weights model.pth pipe.ppm
cat a.ppm >pipe.ppm &
try predict --weights model.pth --top-k 1 pipe.ppm
try predict --weights model.pth /dev/zero
try predict --weights model.pth --class-indices /dev/null a.ppm
: >nothing.json
try predict --weights model.pth --class-indices nothing.json a.ppm
