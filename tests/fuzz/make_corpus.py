#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/fuzz/corpus/: samples, sound and broken, of what tests/golden has no fixtures for.

    python3 tests/fuzz/make_corpus.py

Equal bytes each time; needs nothing but Python. Files whose names begin with "found-" came from
fuzzing: each failed before a fix, and none is made here.
"""
import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def put(target, name, data):
    folder = os.path.join(ROOT, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def gz(data):
    return gzip.compress(data, 9, mtime=0)


# ---- safetensors -------------------------------------------------------------------------------


def safetensors(header, data, pad=b" "):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += pad * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def row(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


CARD = {
    "format": "vitro", "version": 1,
    "config": {"img_size": 8, "patch_size": 4, "in_channels": 3, "num_classes": 2, "embed_dim": 4,
               "depth": 1, "num_heads": 2, "mlp_ratio": 2.0, "qkv_bias": True, "norm_eps": 1e-6,
               "act": "gelu"},
    "transform": {"width": 8, "height": 8, "channels": 3, "rule": "short", "resize": 9,
                  "interpolation": "bilinear", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    "classes": ["cat", "dog"],
}


def make_safetensors():
    f32 = struct.pack("<4f", 1, 2, 3, 4)
    every, data = {}, b""
    sizes = [("F64", 8), ("I64", 8), ("F32", 4), ("I32", 4), ("F16", 2), ("BF16", 2), ("I16", 2),
             ("U8", 1), ("I8", 1), ("BOOL", 1)]
    for dtype, size in sizes:
        every[dtype.lower()] = row(dtype, [2], len(data), len(data) + 2 * size)
        data += b"\0\1" * size
    every["__metadata__"] = {"format": "pt", "vitro": json.dumps(CARD), "other": "\u00e9\n"}
    put("safetensors", "every", safetensors(every, data))
    vit = {"cls_token": [1, 1, 4], "pos_embed": [1, 5, 4], "patch_embed.proj.weight": [4, 3, 4, 4],
           "patch_embed.proj.bias": [4], "norm.weight": [4], "norm.bias": [4],
           "head.weight": [2, 4], "head.bias": [2]}
    for name, shape in [("norm1.weight", [4]), ("norm1.bias", [4]), ("attn.qkv.weight", [12, 4]),
                        ("attn.qkv.bias", [12]), ("attn.proj.weight", [4, 4]),
                        ("attn.proj.bias", [4]), ("norm2.weight", [4]), ("norm2.bias", [4]),
                        ("mlp.fc1.weight", [8, 4]), ("mlp.fc1.bias", [8]),
                        ("mlp.fc2.weight", [4, 8]), ("mlp.fc2.bias", [4])]:
        vit["blocks.0." + name] = shape
    header, at = {"__metadata__": {"vitro": json.dumps(CARD)}}, 0
    for name, shape in vit.items():
        n = 2
        for d in shape:
            n *= d
        header[name] = row("F16", shape, at, at + n)
        at += n
    put("safetensors", "vit", safetensors(header, b"\0\x3c" * (at // 2)))
    scaled = {"a": row("I8", [2, 4], 8, 16), "a_scale": row("F32", [2], 0, 8)}
    put("safetensors", "scaled", safetensors(scaled, struct.pack("<2f", 0.5, 2) + bytes(8)))
    nan = struct.pack("<2f", float("nan"), -1)
    put("safetensors", "bad-scale", safetensors(scaled, nan + bytes(8)))
    one = {"a": row("F32", [4], 0, 16)}
    put("safetensors", "one", safetensors(one, f32))
    put("safetensors", "empty", safetensors({}, b""))
    put("safetensors", "scalar", safetensors({"a": row("F32", [], 0, 4)}, f32[:4]))
    put("safetensors", "bad-trailing", safetensors(one, f32 + b"x"))
    put("safetensors", "bad-short", safetensors(one, f32)[:-1])
    put("safetensors", "bad-hole", safetensors({"a": row("F32", [3], 4, 16)}, f32))
    both = {"a": row("F32", [3], 0, 12), "b": row("F32", [2], 8, 16)}
    put("safetensors", "bad-overlap", safetensors(both, f32))
    put("safetensors", "bad-padding", safetensors(one, f32, b"\0"))
    put("safetensors", "bad-claim", struct.pack("<Q", 1 << 62) + b"{}")
    put("safetensors", "bad-nested", safetensors(b'{"a":' + b"[" * 2000, b""))
    put("safetensors", "bad-twice", safetensors(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', f32[:4]))
    for i, number in enumerate(["-1", "1e3", "NaN", "9223372036854775808", "1.0", '"4"', "true"]):
        text = '{"a":{"dtype":"F32","shape":[%s],"data_offsets":[0,16]}}' % number
        put("safetensors", "bad-number-%d" % i, safetensors(text.encode(), f32))
    for i, name in enumerate(["", "..", "/etc/passwd", "a/../b", "a\\b", "\u202e", "x" * 5000]):
        put("safetensors", "name-%d" % i, safetensors({name: row("F32", [4], 0, 16)}, f32))


# ---- pth and npz: what golden lacks ----------------------------------------------------------


def zipped(members, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in members:
            z.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, method)
    return out.getvalue()


def npy(descr, shape, data, fortran=False):
    head = "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, fortran, shape)
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head.encode() + data


def make_zips():
    good = npy("<f4", "(2, 3)", bytes(24))
    put("npz", "good", zipped([("a.npy", good), ("b.npy", npy("<f8", "(1,)", bytes(8), True))]))
    put("npz", "deflated", zipped([("a.npy", good)], zipfile.ZIP_DEFLATED))
    bomb = npy("|u1", "(4000000,)", bytes(4000000))
    put("npz", "bad-bomb", zipped([("a.npy", bomb)], zipfile.ZIP_DEFLATED))
    put("npz", "bad-shape", npy("<f4", "(2, -3)", bytes(24)))
    put("npz", "bad-claim", npy("<f4", "(4294967296, 4294967296)", bytes(24)))
    put("npz", "bad-tuple", npy("<f4", "2", bytes(24)))
    put("npz", "member", npy("<f2", "()", bytes(2)))
    for i, name in enumerate(["../a.npy", "/a.npy", "a\\b.npy", "a" * 300 + ".npy", ".npy"]):
        put("npz", "name-%d" % i, zipped([(name, good)]))
    two = zipped([("a.npy", good), ("b.npy", good)]).replace(b"b.npy", b"a.npy")
    put("npz", "bad-twice", two)
    put("npz", "bad-trailing", zipped([("a.npy", good)]) + b"x")

    storage = b"ctorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuK\6t"

    def tensor(offset, shape, stride):
        return (b"ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storage" + storage + b"Q" + offset +
                shape + stride + b"\x89}tR")

    def state(body):
        return b"\x80\2}" + body + b"."

    def named(name, value):
        return b"X" + struct.pack("<I", len(name)) + name + value + b"s"

    plain = tensor(b"K\0", b"K\2K\3\x86", b"K\3K\1\x86")
    pickles = {
        "plain": state(named(b"a", plain)),
        "overlapping": state(named(b"a", plain) + named(b"b", plain)),
        "bad-stride": state(named(b"a", tensor(b"K\0", b"K\2\x85", b"J\xff\xff\xff\xff\x85"))),
        "bad-reach": state(named(b"a", tensor(b"K\1", b"K\6\x85", b"K\1\x85"))),
        "bad-size": state(named(b"a", tensor(b"K\0", b"G\x7f\xf8\0\0\0\0\0\0\x85", b"K\1\x85"))),
        "bad-expand": state(named(b"a", tensor(b"K\0", b"J\0\0\0\x40\x85", b"K\0\x85"))),
        "bad-nested": b"\x80\2" + b"(" * 3000 + b"t" * 3000 + b".",
        "bad-lists": b"\x80\2" + b"]" * 2000 + b"a" * 1999 + b".",
        "bad-call": state(named(b"a", b"cos\nsystem\nX\2\0\0\0ls\x85R")),
        "bad-cycle": b"\x80\2}q\0X\1\0\0\0ah\0s.",
        "bad-memo": b"\x80\2h\xff.",
        "bad-huge-text": b"\x80\2X\xff\xff\xff\x7fabc.",
        "bad-huge-bytes": b"\x80\4\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        "bad-names": state(b"".join(named(n, plain) for n in (b"..", b"/a", b"a\nb", b"\x1b[2J"))),
        "doubling": b"\x80\2]q\0" + b"".join(
            b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60)) +
            b".",
    }
    for name, data in pickles.items():
        put("pth", name + ".pkl", data)
    good = [("x/data.pkl", pickles["plain"]), ("x/data/0", bytes(24)), ("x/version", b"3\n")]
    put("pth", "stored.pth", zipped(good))
    put("pth", "deflated.pth", zipped(good, zipfile.ZIP_DEFLATED))
    put("pth", "outside.pth", zipped([("../../data.pkl", good[0][1]), ("/data/0", bytes(24))]))
    bomb = [good[0], ("x/data/0", bytes(4000000))]
    put("pth", "bad-bomb.pth", zipped(bomb, zipfile.ZIP_DEFLATED))


# ---- data sets -------------------------------------------------------------------------------


def make_idx():
    images = struct.pack(">IIII", 0x803, 3, 4, 5) + bytes(range(60))
    labels = struct.pack(">II", 0x801, 3) + bytes([0, 9, 4])
    put("idx", "images", images)
    put("idx", "labels", labels)
    put("idx", "images.gz", gz(images))
    put("idx", "labels.gz", gz(labels))
    put("idx", "members.gz", gz(images[:30]) + gz(images[30:]))
    put("idx", "none", struct.pack(">IIII", 0x803, 0, 4, 5))
    put("idx", "bad-label", labels[:-1] + b"\x0a")
    put("idx", "bad-short", images[:-1])
    put("idx", "bad-trailing", images + b"x")
    put("idx", "bad-short.gz", gz(images)[:-1])
    put("idx", "bad-trailing.gz", gz(images) + b"x")
    put("idx", "bad-claim", struct.pack(">IIII", 0x803, 0x7fffffff, 0xffff, 0xffff))
    put("idx", "bad-bomb.gz", gz(struct.pack(">IIII", 0x803, 400, 200, 200) + bytes(16000000)))
    crc = bytearray(gz(images))
    crc[-6] ^= 1
    put("idx", "bad-crc.gz", bytes(crc))


def make_cifar():
    rows = bytes(i * 7 % 256 for i in range(3072))
    put("cifar", "two100.bin", b"\3\x11" + rows + b"\0\x63" + rows)
    put("cifar", "two10.bin", b"\3" + rows + b"\x09" + rows)
    put("cifar", "bad-label.bin", b"\3\x64" + rows)
    put("cifar", "bad-short.bin", (b"\3\x11" + rows)[:-1])
    put("cifar", "names.pkl", pickle.dumps({"fine_label_names": ["n%d" % i for i in range(100)]}, 2))
    put("cifar", "bad-names.pkl", pickle.dumps({"fine_label_names": ["a", 1, None]}, 2))
    put("cifar", "bad-trailing.pkl", pickle.dumps({"fine_labels": []}, 2) + b"x")
    put("cifar", "names.txt", "\n".join("n%d" % i for i in range(100)))


# ---- texts -------------------------------------------------------------------------------------


def make_text():
    put("text", "card.json", json.dumps(CARD))
    put("text", "classes.json", json.dumps({str(i): "c%d" % i for i in range(12)}))
    put("text", "list.json", '["a", "\\u00e9", "\\ud83d\\ude00"]')
    put("text", "map.txt", "# c\nlayers.*.wq.weight = blocks.*.q\n? none = x\n- layers.9.*\n"
                           "cls(1,0) = cls_token\n")
    put("text", "join.txt", "layers.0.wq.weight + layers.1.wq.weight = both\n")
    broken = {
        "gap": '{"0": "a", "2": "b"}', "twice": '{"0": "a", "0": "b"}', "number": '{"0": 1}',
        "nested": "[" * 5000, "objects": '{"a":' * 5000, "nul": '["a\\u0000b"]', "utf8": b'["\xff"]',
        "surrogate": '["\\ud800"]', "trailing": '["a"] x', "real": '["a", 1e999]', "bom": b"\xef\xbb\xbf[]",
        "empty": "", "none": "[]", "huge": '{"config": {"depth": 2147483647, "embed_dim": 2147483647}}',
        "nan": '{"transform": {"width": NaN}}', "version": '{"version": 99}',
        "path": '["../../etc/passwd", "/x", "a\\\\b"]', "map": "a = b\na = c\n", "map2": "= \n+ = x\n",
        "star": "*.*.* = *\n", "axes": "cls(0,0,9) = x\n", "long": "a" * 70000,
        "mean": json.dumps(dict(CARD, transform=dict(CARD["transform"], std=[0, 1e-300, -1]))),
    }
    for name, data in broken.items():
        put("text", "bad-" + name, data)


# ---- archives ----------------------------------------------------------------------------------


def tar(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as t:
        for name, data, kind, link in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(data)
            info.mode = 0o4755
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()[:-8192]


def make_unpack():
    file, folder = tarfile.REGTYPE, tarfile.DIRTYPE
    good = [("set/", b"", folder, ""), ("set/train", b"train", file, ""),
            ("set/readme", b"read", file, ""), ("set/meta", b"meta", file, "")]
    put("unpack", "good.tar.gz", gz(tar(good)))
    put("unpack", "plain.tar", tar(good))
    put("unpack", "bad-crc.tar.gz", gz(tar(good))[:-7] + b"xxxxxxx")
    put("unpack", "bad-short.tar.gz", gz(tar(good)[:1500]))
    for i, name in enumerate(["../train", "/set/train", "set/../train", "set//train", "set/./train",
                              "set\\train", "set/train/", "set/" + "a" * 90, "set/train\n", "train"]):
        put("unpack", "name-%d.tar.gz" % i, gz(tar(good + [(name, b"x", file, "")])))
    put("unpack", "twice.tar.gz", gz(tar(good + [good[1]])))
    for i, kind in enumerate([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]):
        put("unpack", "link-%d.tar.gz" % i,
            gz(tar(good[:1] + [("set/train", b"", kind, "/etc/passwd"), good[3]])))
    put("unpack", "dir-link.tar.gz", gz(tar([("set", b"", tarfile.SYMTYPE, "/tmp")] + good[1:])))
    put("unpack", "bomb.tar.gz", gz(tar(good[:1] + [("set/train", bytes(200000), file, "")])))


# ---- a server's answers ------------------------------------------------------------------------


def make_http():
    def answer(status, *headers, body=b""):
        return ("HTTP/1.1 %s\r\n%s\r\n" % (status, "".join(h + "\r\n" for h in headers))).encode() + body

    put("http", "whole", answer("200 OK", "Content-Length: 8", body=b"01234567"))
    put("http", "part", answer("206 Partial Content", "Content-Length: 4",
                               "Content-Range: bytes 4-7/8", body=b"4567"))
    put("http", "chunked", answer("200 OK", "Transfer-Encoding: chunked",
                                  body=b"4\r\n0123\r\n4\r\n4567\r\n0\r\n\r\n"))
    put("http", "length-less", answer("200 OK", body=b"01234567"))
    put("http", "done", answer("416 Range Not Satisfiable", "Content-Range: bytes */4"))
    for name, text in {"star": "bytes 4-7/*", "back": "bytes 7-4/8", "far": "bytes 0-99/8",
                       "huge": "bytes 4-999999999999999999/9999999999999999999"}.items():
        put("http", "bad-range-" + name, answer("206 Partial Content", "Content-Length: 4",
                                                "Content-Range: " + text, body=b"4567"))
    put("http", "bad-claim", answer("200 OK", "Content-Length: 99999999999999", body=b"x"))
    put("http", "bad-redirect", answer("302 Found", "Location: file:///etc/passwd",
                                       "Content-Length: 0"))
    put("http", "loop", answer("302 Found", "Location: /f", "Content-Length: 0"))
    put("http", "text", "bytes 5-9/10")
    put("http", "garbage", b"\0\xff" * 40)
    put("http", "header", b"HTTP/1.1 200 OK\r\n" + b"A: " + b"b" * 3000 + b"\r\n\r\n")


def make_pictures():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 16000, 11000, 8, 2, 0, 0, 0)
    put("png", "bad-bomb.png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) +
        chunk(b"IDAT", zlib.compress(bytes(100), 9)) + chunk(b"IEND", b""))
    # a lossless WebP whose five codes have one symbol each: any number of equal pixels in no bits
    for name, w, h in (("one-colour.webp", 64, 64), ("bad-bomb.webp", 16384, 10900)):
        bits = (w - 1) | (h - 1) << 14
        body = b"\x2f" + struct.pack("<I", bits) + b"\x88\x88\x08\x08\x00\x00\x00\x00"
        riff = b"WEBPVP8L" + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
        put("webp", name, b"RIFF" + struct.pack("<I", len(riff)) + riff)
    put("bitmap", "bad-claim.ppm", b"P6 13000 13000 255\n" + bytes(30))
    rle = struct.pack("<IiiHHIIiiII", 40, 16000, 11000, 1, 8, 1, 0, 1, 1, 256, 256)
    put("bitmap", "bad-bomb.bmp", b"BM" + struct.pack("<IHHI", 2000, 0, 0, 54 + 1024) + rle +
        bytes(1024) + b"\0\2\0\0\xff\xff" * 200 + b"\0\1")
    put("jpeg", "bad-short.jpg", b"\xff\xd8\xff\xe0")


# ---- configuration files beside the weights ---------------------------------------------------


def make_config():
    vit = {"model_type": "vit", "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
           "intermediate_size": 9, "image_size": [8, 12], "patch_size": 4, "layer_norm_eps": 1e-6,
           "hidden_act": "gelu_new", "qkv_bias": None, "id2label": {"0": "cat", "1": "dog"}}
    put("config", "vit.json", json.dumps(vit))
    put("config", "bad-name.json", json.dumps(dict(vit, model_type="\u001b[2J\n")))
    put("config", "bad-act.json", json.dumps(dict(vit, hidden_act="\u001b[2J\n")))
    put("config", "bad-label.json", json.dumps(dict(vit, id2label={"-1": "cat", "1e0": "dog"})))
    put("config", "clip.json", json.dumps({
        "size": {"shortest_edge": 9}, "crop_size": {"height": 8, "width": 12}, "resample": 1,
        "do_rescale": True, "rescale_factor": 0.0078, "image_mean": 0.5, "image_std": [1, 2, 3]}))
    put("config", "bad-scale.json", json.dumps({"rescale_factor": 1e-300, "image_std": [1e-40] * 3}))
    cfg = {"input_size": [3, 8, 12], "crop_pct": 0.9, "crop_mode": "border", "mean": [0.5],
           "interpolation": "lanczos", "num_classes": 2}
    put("config", "timm.json", json.dumps({
        "architecture": "vit_tiny_patch16_224", "num_classes": 2, "pretrained_cfg": cfg,
        "label_names": ["a", "b"], "label_descriptions": {"a": "b", "b": "a"},
        "model_args": {"img_size": [8, 12], "patch_size": 4, "embed_dim": 4, "num_heads": 2}}))
    put("config", "old.json", json.dumps(dict(cfg, architecture="x", labels=["a", "b"])))
    put("config", "bad-crop.json", json.dumps(dict(cfg, architecture="x", crop_pct=1e-300)))
    put("config", "index.json", json.dumps({"weight_map": {"x": "model.safetensors"}}))
    for i, name in enumerate(["../model.safetensors", "/dev/zero", ".safetensors", "",
                              "model.safetensors.index.json", "x\u001b.safetensors"]):
        put("config", "bad-index-%d.json" % i, json.dumps({"weight_map": {"x": name}}))
    put("config", "bad-deep.json", "[" * 3000 + "]" * 3000)


make_safetensors()
make_config()
make_zips()
make_idx()
make_cifar()
make_text()
make_unpack()
make_http()
make_pictures()
