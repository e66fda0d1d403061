#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/data/: what CPython's random.sample picks, and CIFAR pickles of every kind.

Run from the root of the repository; needs numpy 1. Row r of a CIFAR fixture has pixel
(31 r + 7 c + c // 256) mod 256 at column c, so that a test can tell what it should find.
"""
import os
import pickle
import random
import struct
import sys

import numpy as np

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
ROWS = 3
FINE = [99, 0, 42]
COARSE = [19, 0, 7]
LABELS10 = [9, 0, 4]


def write(name, data):
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(data)


def pixels(order="C"):
    r, c = np.mgrid[0:ROWS, 0:3072]
    return np.array((31 * r + 7 * c + c // 256) % 256, dtype=np.uint8, order=order)


def split_fixture():
    """A line per class, one generator running through them: n, then the sorted picks of
    random.sample(range(n), int(n * 0.2)); then MT19937's first words for some seeds."""
    sizes = [1, 4, 5, 7, 9, 10, 20, 21, 24, 25, 26, 29, 30, 35, 100, 103, 105, 110, 111, 500, 633, 898]
    random.seed(0)
    lines = []
    for n in sizes:
        picks = sorted(random.sample(range(n), k=int(n * 0.2)))
        lines.append(" ".join(map(str, [n] + picks)))
    # The other branch of random.sample: few of many.
    for n, k in [(22, 5), (1000, 6), (1000, 5), (100, 5), (85, 6), (86, 6), (277, 21), (278, 21)]:
        picks = sorted(random.sample(range(n), k=k))
        lines.append("sample " + " ".join(map(str, [n, k] + picks)))
    for seed in [0, 1, 4294967295]:
        random.seed(seed)
        lines.append("seed " + " ".join(str(v) for v in [seed] + [random.getrandbits(32) for _ in range(700)][::77]))
    write("split.txt", ("\n".join(lines) + "\n").encode())


class Python2:
    """Writes what Python 2's cPickle wrote in protocol 2: its str is BINSTRING."""

    def __init__(self):
        self.out = bytearray(b"\x80\x02")

    def string(self, s):
        s = s if isinstance(s, bytes) else s.encode()
        self.out += b"U" + bytes([len(s)]) + s if len(s) < 256 else b"T" + struct.pack("<I", len(s)) + s

    def value(self, v):
        if isinstance(v, (str, bytes)):
            self.string(v)
        elif isinstance(v, bool):
            self.out += b"\x88" if v else b"\x89"
        elif v is None:
            self.out += b"N"
        elif isinstance(v, int):
            self.out += b"K" + bytes([v]) if 0 <= v < 256 else b"J" + struct.pack("<i", v)
        elif isinstance(v, list):
            self.out += b"](" + b""
            for x in v:
                self.value(x)
            self.out += b"e"
        elif isinstance(v, tuple):
            self.out += b"("
            for x in v:
                self.value(x)
            self.out += b"t"
        elif isinstance(v, np.ndarray):
            self.array(v)
        elif isinstance(v, dict):
            self.out += b"}("
            for k, x in v.items():
                self.value(k)
                self.value(x)
            self.out += b"u"
        else:
            raise TypeError(type(v))

    def array(self, a):
        self.out += b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        self.out += b"(K\x01"
        self.value(a.shape)
        self.out += b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        self.value(False)
        self.string(a.tobytes())
        self.out += b"tb"

    def done(self):
        return bytes(self.out + b".")


class NewNumpyPickler(pickle._Pickler):
    """As pickled beside NumPy 2, which renamed numpy.core to numpy._core."""


def dump_new_numpy(value, protocol):
    import io

    for name in ["", ".multiarray", ".numeric"]:
        sys.modules["numpy._core" + name] = sys.modules["numpy.core" + name]
    which = pickle.whichmodule
    pickle.whichmodule = lambda obj, name: which(obj, name).replace("numpy.core", "numpy._core")
    try:
        out = io.BytesIO()
        NewNumpyPickler(out, protocol).dump(value)
        return out.getvalue()
    finally:
        pickle.whichmodule = which


def with_bytes_keys(d):
    return {k.encode(): v for k, v in d.items()}


def cifar_fixtures():
    names = ["picture_%d.png" % i for i in range(ROWS)]
    base = {"filenames": names, "batch_label": "training batch 1 of 1", "fine_labels": FINE,
            "coarse_labels": COARSE, "data": pixels()}
    py2 = Python2()
    py2.value(base)
    write("cifar100_py2.pkl", py2.done())
    write("cifar100_p2_bytes_keys.pkl", pickle.dumps(with_bytes_keys(base), 2))
    write("cifar100_p3.pkl", pickle.dumps(base, 3))
    write("cifar100_p4_new_numpy.pkl", dump_new_numpy(base, 4))
    fortran = dict(base, data=pixels("F"), fine_labels=np.array(FINE, dtype=np.int64))
    write("cifar100_p4_fortran.pkl", pickle.dumps(fortran, 4))
    big = dict(base, fine_labels=np.array(FINE, dtype=">i4"))
    write("cifar100_p5_new_numpy.pkl", dump_new_numpy(big, 5))
    scalars = dict(base, data=pixels("F"), fine_labels=[np.int64(v) for v in FINE])
    write("cifar100_p5_fortran.pkl", pickle.dumps(with_bytes_keys(scalars), 5))

    fine_names = ["first class"] + ["class %d" % i for i in range(1, 100)]
    py2 = Python2()
    py2.value({"fine_label_names": fine_names, "coarse_label_names": ["x"] * 20})
    write("cifar100_meta_py2.pkl", py2.done())
    write("cifar100_meta_p4.pkl", pickle.dumps({b"fine_label_names": [n.encode() for n in fine_names]}, 4))
    write("cifar10_batch_p4.pkl", pickle.dumps({"data": pixels(), "labels": LABELS10}, 4))
    write("cifar10_meta_p2.pkl", pickle.dumps(
        {"num_cases_per_batch": 10000, "label_names": ["kind %d" % i for i in range(10)], "num_vis": 3072}, 2))

    # What must be refused.
    write("bad_label.pkl", pickle.dumps(dict(base, fine_labels=[99, 100, 42]), 4))
    write("bad_negative_label.pkl", pickle.dumps(dict(base, fine_labels=[99, 1, -1]), 4))
    write("bad_label_count.pkl", pickle.dumps(dict(base, fine_labels=[99, 1]), 4))
    write("bad_label_type.pkl", pickle.dumps(dict(base, fine_labels=[99, "1", 2]), 4))
    write("bad_no_labels.pkl", pickle.dumps({"data": pixels(), "labels": FINE}, 4))
    write("bad_dtype.pkl", pickle.dumps(dict(base, data=np.zeros((3, 3072), np.int8)), 4))
    write("bad_shape.pkl", pickle.dumps(dict(base, data=np.zeros((3, 3071), np.uint8)), 4))
    write("bad_rank.pkl", pickle.dumps(dict(base, data=np.zeros(3072, np.uint8)), 4))
    write("bad_data_type.pkl", pickle.dumps(dict(base, data=[1, 2, 3]), 4))
    write("bad_root.pkl", pickle.dumps([1, 2, 3], 4))
    write("bad_meta_count.pkl", pickle.dumps({"fine_label_names": fine_names[:99]}, 4))
    write("bad_meta_type.pkl", pickle.dumps({"fine_label_names": list(range(100))}, 4))


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    split_fixture()
    cifar_fixtures()
