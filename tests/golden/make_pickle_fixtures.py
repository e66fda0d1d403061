#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/pickle/p{2..5}.pkl: one object, each protocol, by Python's own pickler."""
import collections
import os
import pickle

import numpy as np

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pickle")
os.makedirs(here, exist_ok=True)
pixels = np.arange(256, dtype=np.uint8).reshape(2, 128)
value = {
    b"data": pixels,
    "fortran": np.asfortranarray(pixels[:, :3]),
    "big": np.array([1, -2], dtype=">i4"),
    "empty": np.zeros((0, 3072), dtype=np.uint8),
    "labels": [0, 255, 256, -1, 70000, 1 << 40, -(1 << 40), True, None],
    "scalars": list(np.array([-3, 7], dtype=np.int64)) + [np.uint8(200)],
    "real": 0.1,
    "huge": 0x1950A86A20F9469CFC6C,
    "raw": bytes(range(256)),
    "nothing": b"",
    "long text": "x" * 300,
    "ordered": collections.OrderedDict([("a", 1), ("b", (1, 2, 3, 4))]),
    "set": {5},
    "shared": [[1]] * 2,
}
for protocol in range(2, 6):
    with open(os.path.join(here, f"p{protocol}.pkl"), "wb") as f:
        pickle.dump(value, f, protocol=protocol)
