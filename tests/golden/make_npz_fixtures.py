#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/ckpt/*.npz with NumPy: element i of an array is start + i, in C order.

test_npz.c knows the values."""
import io
import os
import zipfile

import numpy as np

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ckpt")


def path(name):
    return os.path.join(here, name)


def arange(start, n, dtype):
    return np.arange(start, start + n).astype(dtype)


bf16 = (arange(0, 5, "<f4").view("<u4") >> 16).astype("<u2").view("V2")
kinds = {kind: arange(0, 5, kind) for kind in ("f4", "f2", "f8", "u1", "i1", "i2", "i4", "i8")}
kinds["b1"] = np.array([False, True, False, True, False])
kinds["bf16"] = bf16
kinds["block_0/deep/scalar"] = np.array(1.5, "<f4")
kinds["empty"] = np.zeros((0, 3), "<f4")
kinds["fortran"] = np.asfortranarray(arange(0, 24, "<f4").reshape(2, 3, 4))
np.savez(path("kinds.npz"), **kinds)
np.savez_compressed(path("packed.npz"), matrix=arange(0, 6, "<f4").reshape(2, 3),
                    zeros=np.zeros((64, 16), "<f4"))
np.savez(path("nothing.npz"))

with zipfile.ZipFile(path("versions.npz"), "w") as z:
    for version in ((1, 0), (2, 0), (3, 0)):
        f = io.BytesIO()
        np.lib.format.write_array(f, arange(version[0], 3, "<f4"), version=version)
        z.writestr(zipfile.ZipInfo("v%d.npy" % version[0]), f.getvalue())
    # as Python 2 wrote it, padded to 16
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3L,), }"
    header += b" " * (-(len(header) + 11) % 16) + b"\n"
    z.writestr(zipfile.ZipInfo("python2.npy"), b"\x93NUMPY\x01\x00" +
               len(header).to_bytes(2, "little") + header + arange(4, 3, "<f4").tobytes())
    z.writestr(zipfile.ZipInfo("README.txt"), b"no array")

for name, array in (("big_endian", arange(0, 3, ">f4")), ("complex", np.zeros(2, "c8")),
                    ("unsigned", np.zeros(2, "u4")), ("text", np.array(["a", "b"])),
                    ("records", np.zeros(2, [("a", "f4"), ("b", "i4")]))):
    np.savez(path(name + ".npz"), x=array)
np.savez(path("object.npz"), x=np.array([None, 1], dtype=object))
