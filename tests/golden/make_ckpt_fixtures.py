#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/ckpt/*: weight files by PyTorch itself, and zip archives by Python's zipfile.

test_checkpoint.c knows the values: element i of a tensor is start + i (bool: i odd), before any view.
Made with PyTorch 1.13; the files of other versions differ only in their extra records.
"""
import argparse
import collections
import io
import os
import zipfile

import torch

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ckpt")
os.makedirs(here, exist_ok=True)


def path(name):
    return os.path.join(here, name)


def arange(start, n, dtype=torch.float32):
    return torch.arange(start, start + n).to(dtype)


torch.save({"matrix": arange(0, 6).view(2, 3), "scalar": torch.tensor(1.5),
            "empty": torch.zeros(0, 3)}, path("plain.pth"))

kinds = collections.OrderedDict(
    (str(dtype).split(".")[1], arange(-2, 5, dtype))
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int8,
                  torch.int16, torch.int32, torch.int64))
kinds["uint8"] = arange(250, 5, torch.uint8)
kinds["bool"] = torch.tensor([False, True, False, True, False])
torch.save(kinds, path("kinds.pth"))
torch.save(kinds, path("kinds_legacy.pth"), _use_new_zipfile_serialization=False)

base = arange(0, 24)
half = arange(0, 6, torch.float16)
views = {"whole": base.view(2, 3, 4), "turned": base.view(2, 3, 4).permute(2, 0, 1),
         "part": base[5:20:3], "expanded": base[3:4].expand(4, 5), "half_t": half.view(2, 3).t(),
         "big_t": arange(0, 3000).view(30, 100).t()}
torch.save(views, path("views.pth"))
torch.save(views, path("views_legacy.pth"), _use_new_zipfile_serialization=False)



class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(arange(0, 6).view(2, 3))
        self.bias = torch.nn.Parameter(arange(6, 2))


layer = Layer()
optimizer = torch.optim.SGD(layer.parameters(), lr=0.0, momentum=0.9)
(layer.weight.sum() + layer.bias.sum()).backward()
optimizer.step()
training = {
    "epoch": 3, "best": 0.5, "none": None, "args": argparse.Namespace(lr=0.1, name="x"),
    "history": [{"loss": torch.tensor(1.0)}], "optimizer": optimizer.state_dict(),
    "model_state_dict": collections.OrderedDict(
        ("module._orig_mod." + k, v) for k, v in layer.state_dict().items()),
}
torch.save(training, path("training.pth"))
torch.save(training, path("training_legacy.pth"), _use_new_zipfile_serialization=False)
torch.save({"state_dict": {"model": layer.state_dict()}}, path("nested.pth"))
torch.save(dict(layer.named_parameters()), path("parameters.pth"))
torch.save(layer.state_dict(), path("protocol4.pth"), pickle_protocol=4)
torch.save(layer.state_dict(), path("protocol4_legacy.pth"), pickle_protocol=4,
           _use_new_zipfile_serialization=False)
torch.save({"model": layer}, path("object_inside.pth"))
torch.save(layer, path("object.pth"))
torch.save(layer, path("object_legacy.pth"), _use_new_zipfile_serialization=False)
torch.save(layer.weight.data, path("bare.pth"))
torch.save({"epoch": 3, "lr": 0.1}, path("no_tensors.pth"))
torch.save({"z": torch.zeros(2, dtype=torch.complex64)}, path("complex.pth"))
torch.save({"q": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)},
           path("quantized.pth"))


class Pipe(io.RawIOBase):
    """A file that cannot seek: zipfile then writes data descriptors."""

    def __init__(self, f):
        self.f = f

    def writable(self):
        return True

    def write(self, data):
        return self.f.write(data)


# The same archive as PyTorch would read it, made by other hands: compressed, with data descriptors
# and zip64 fields that are not needed.
with zipfile.ZipFile(path("plain.pth")) as z, open(path("repacked.pth"), "wb") as f:
    with zipfile.ZipFile(Pipe(f), "w", zipfile.ZIP_DEFLATED) as out:
        for info in z.infolist():
            fixed = zipfile.ZipInfo(info.filename)
            fixed.compress_type = zipfile.ZIP_DEFLATED
            with out.open(fixed, "w", force_zip64=True) as record:
                record.write(z.read(info))
with zipfile.ZipFile(path("locked.zip"), "w") as out:
    out.writestr(zipfile.ZipInfo("a/data.pkl"), b"N.")
with open(path("locked.zip"), "r+b") as f:  # set the encryption bit of both headers
    data = bytearray(f.read())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    f.seek(0)
    f.write(data)
