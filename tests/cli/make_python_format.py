# SPDX-License-Identifier: Apache-2.0
"""Writes python_format.txt: float32 values and what Python's '{:.3}'.format makes of them."""
import pathlib
import random
import struct
import sys

rng = random.Random(0)
count = int(sys.argv[1]) if len(sys.argv) > 1 else 400


def single(v):
    return struct.unpack("f", struct.pack("f", v))[0]


values = [0.0, 1.0, 0.5, 0.25, 0.1, 0.987, 0.9994999, 0.9995, 0.99951, 0.99949, 0.0001, 0.00009999,
          0.000099951, 1.23e-05, 1e-10, 1e-30, 1.4e-45, 9.995, 9.9949, 99.94, 99.95, 99.96, 100.0,
          123.0, 12.34, 1e20, -0.5, -1.0, -0.0, -1e-7, 0.125, 0.0625, 0.3125, 2.5, 10.0, 10.5, 3.0]
while len(values) < count:
    values.append(rng.choice([rng.random(), 10 ** rng.uniform(-12, 3), rng.randrange(1, 4096) / 4096,
                              rng.randrange(0, 1000) / 1000 + 0.0005]))
here = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else __file__)
out = here if len(sys.argv) > 2 else here.parent / "python_format.txt"
with open(out, "w") as f:
    for v in map(single, values):
        f.write("%s %s\n" % (v.hex(), "{:.3}".format(v)))
