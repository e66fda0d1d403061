#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/golden/image: small pictures of every kind the library reads, and what Pillow 9.4 and
torchvision 0.14 make of them, as check sums in tables that test_image_golden.c reads.

Run it from the root of the repository with Debian 12's python3-pil, python3-torchvision and cjpeg
(libjpeg-turbo-progs). With VITRO_SHARED (default ../shared) at hand it also writes shared.txt, the
table of the material there. The pictures are drawn by this script; nothing is taken from elsewhere.
"""
import os
import pathlib
import struct
import subprocess
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional

warnings.simplefilter("ignore")
OUT = pathlib.Path("tests/golden/image")
SHARED = pathlib.Path(os.environ.get("VITRO_SHARED", "../shared"))
FILTERS = [InterpolationMode.BILINEAR, InterpolationMode.BICUBIC]
rng = np.random.default_rng(20231123)


def crc(image):
    return f"{zlib.crc32(image.tobytes()):08x}"


def picture(width, height, channels=3):
    """Waves, an edge and some noise: smooth enough for codecs, rough enough to tell errors."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 90 * np.sin(x / (5.0 + c)) * np.cos(y / (7.0 - c)) for c in range(channels)]
    data = np.stack(planes, -1)
    data[(x > y) & (x + y > width)] += 40
    data = np.clip(data + rng.normal(0, 6, data.shape), 0, 255).astype(np.uint8)
    return data if channels > 1 else data[:, :, 0]


def save(name, data, mode=None, **options):
    Image.fromarray(data, mode).save(OUT / name, **options)


def write(name, data):
    (OUT / name).write_bytes(data)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color, interlaced=0, palette=None, before=b"", after=b"", split=0):
    """A PNG of random filtered bytes: every byte string is a picture."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                  (0, 1, 1, 2)]
    raw = b""
    for x0, y0, dx, dy in passes:
        columns, rows = (width - x0 + dx - 1) // dx, (height - y0 + dy - 1) // dy
        for y in range(rows if columns > 0 else 0):
            count = (columns * samples * depth + 7) // 8
            raw += bytes([y % 5]) + rng.integers(0, 256, count).astype(np.uint8).tobytes()
    data = zlib.compress(raw)
    split = split or len(data)
    out = b"\x89PNG\r\n\x1a\n" + png_chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))
    out += before + (png_chunk(b"PLTE", palette) if palette else b"")
    for i in range(0, len(data), split):
        out += png_chunk(b"IDAT", data[i:i + split])
    return out + after + png_chunk(b"IEND", b"")


def tiff(orientation, order="<"):
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HIH", 42, 8, 1) + struct.pack(
        order + "HHIHHI", 0x0112, 3, 1, orientation, 0, 0)


def make_png():
    colors = rng.integers(0, 256, 768).astype(np.uint8).tobytes()
    kinds = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (2, 3), (4, 3), (8, 3),
             (8, 4), (16, 4), (8, 6), (16, 6)]
    for depth, color in kinds:
        palette = colors[:3 << depth] if color == 3 else None
        write(f"kind{color}_{depth}.png", png(13, 7, depth, color, 0, palette, split=50))
        write(f"kind{color}_{depth}_adam7.png", png(13, 7, depth, color, 1, palette))
    write("short_palette.png", png(9, 9, 8, 3, 0, colors[:60]))
    write("no_palette.png", png(9, 9, 4, 3))
    write("gamma_trns.png", png(8, 8, 8, 2, 0, None, png_chunk(b"gAMA", struct.pack(">I", 220000))
                                + png_chunk(b"tRNS", bytes(6))))
    write("exif6.png", png(9, 4, 8, 2, before=png_chunk(b"eXIf", tiff(6, ">"))))
    write("exif3_after.png", png(9, 4, 8, 2, after=png_chunk(b"eXIf", tiff(3))))
    profile = "\nexif\n%8d\n%s\n" % (32, (b"Exif\0\0" + tiff(8)).hex())
    write("profile8.png", png(9, 4, 8, 2, before=png_chunk(
        b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile.encode()))))
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="5"/></x:xmpmeta>'
    write("xmp5.png", png(9, 4, 8, 2, before=png_chunk(
        b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)))
    write("xmp7.png", png(9, 4, 8, 2, before=png_chunk(
        b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp.replace(b'="5"', b">7")))))
    frame = struct.pack(">IIIIIHHBB", 0, 5, 4, 3, 2, 1, 1, 0, 0)
    apng = png(5, 4, 8, 2, before=png_chunk(b"acTL", struct.pack(">II", 2, 0))
               + png_chunk(b"fcTL", frame))
    write("apng_small_frame.png", apng.replace(
        png_chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 4, 8, 2, 0, 0, 0)),
        png_chunk(b"IHDR", struct.pack(">IIBBBBB", 11, 9, 8, 2, 0, 0, 0))))
    whole = png(13, 7, 8, 2)
    write("bad_no_end.png", whole[:-12])
    write("bad_end_cut.png", whole[:-1])
    write("bad_tail_crc.png", whole[:-12] + png_chunk(b"tEXt", b"a\0b")[:-1] + b"?" + whole[-12:])
    write("trailing.png", whole + b"garbage")
    write("bad_truncated.png", whole[:-60])
    write("bad_idat_crc.png", whole[:-13] + bytes([whole[-13] ^ 1]) + whole[-12:])
    write("bad_text_crc.png", png(3, 3, 8, 2, before=png_chunk(b"tEXt", b"a\0b")[:-1] + b"?"))
    write("bad_size.png", png(2, 2, 8, 2).replace(struct.pack(">II", 2, 2),
                                                  struct.pack(">II", 60000, 60000)))
    bomb = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3 << 20), 9))
    write("bad_text_bomb.png", png(3, 3, 8, 2, before=bomb))


def make_jpeg():
    save("base.jpg", picture(67, 45), quality=85)
    save("grey.jpg", picture(31, 20, 1), quality=80)
    save("progressive.jpg", picture(60, 40), quality=80, progressive=True)
    save("cmyk.jpg", picture(24, 17, 4), "CMYK", quality=90)
    cmyk = (OUT / "cmyk.jpg").read_bytes()
    write("ycck.jpg", cmyk[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\2" + cmyk[2:])
    Image.fromarray(picture(37, 29)).save(OUT / "t.ppm")
    options = {"444": "-sample 1x1", "422": "-sample 2x1", "440": "-sample 1x2", "411": "-sample 4x1",
               "410": "-sample 4x2", "odd": "-sample 2x2,2x1,1x2", "rgb": "-rgb",
               "arithmetic": "-arithmetic", "restart": "-restart 1", "smooth": "-smooth 30",
               "arithmetic_progressive": "-arithmetic -progressive"}
    for name, option in options.items():
        with open(OUT / f"c_{name}.jpg", "wb") as out:
            subprocess.run(["cjpeg", *option.split(), OUT / "t.ppm"], stdout=out, check=True)
    os.remove(OUT / "t.ppm")
    base = (OUT / "base.jpg").read_bytes()
    for n in range(1, 9):
        block = b"Exif\0\0" + tiff(n, "<>"[n % 2])
        write(f"exif{n}.jpg", base[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
              + (OUT / "grey.jpg").read_bytes()[2:])
    write("trailing.jpg", base + b"garbage")
    write("early_end.jpg", base[:len(base) // 2] + b"\xff\xd9")
    write("bad_truncated.jpg", base[:len(base) // 2])
    write("bad_no_end.jpg", base[:-2])
    write("bad_progressive.jpg", (OUT / "progressive.jpg").read_bytes()[:-10])
    write("bad_header.jpg", base[:20])


def make_webp():
    save("lossy.webp", picture(50, 37), quality=80)
    save("lossless.webp", picture(23, 19), lossless=True)
    save("alpha.webp", picture(32, 21, 4), quality=70)
    save("alpha_lossless.webp", picture(15, 21, 4), lossless=True, exact=True)
    save("exif6.webp", picture(20, 10), exif=b"Exif\0\0" + tiff(6))
    frames = [Image.fromarray(picture(24, 18, 4)) for _ in range(3)]
    frames[0].save(OUT / "animated.webp", save_all=True, append_images=frames[1:])
    whole = (OUT / "lossy.webp").read_bytes()
    write("trailing.webp", whole + b"garbage")
    write("bad_truncated.webp", whole[:-9])
    write("bad_short.webp", whole[:16])


def bmp(width, height, bits, compression=0, palette=b"", colors=0, header=40, masks=b"", data=None,
        top_down=False, offset=None):
    stride = (width * bits + 31) // 32 * 4
    if data is None:
        data = rng.integers(0, 256, stride * height).astype(np.uint8).tobytes()
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits,
                           compression, len(data), 0, 0, colors, 0)
        info += masks if header == 40 else (masks + bytes(100))[:header - 40]
    at = 14 + len(info) + len(palette) if offset is None else offset
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(palette) + len(data), 0, 0,
                               at) + info + palette + data


def make_bmp():
    colors = rng.integers(0, 256, 1024).astype(np.uint8).tobytes()
    for bits in (1, 4, 8):
        write(f"palette{bits}.bmp", bmp(13, 7, bits, palette=colors[:4 << bits]))
        write(f"os2_{bits}.bmp", bmp(13, 7, bits, palette=colors[:3 << bits], header=12))
    for bits in (16, 24, 32):
        write(f"plain{bits}.bmp", bmp(13, 7, bits))
    write("top_down.bmp", bmp(13, 7, 24, top_down=True))
    write("black_white.bmp", bmp(13, 7, 1, palette=bytes(4) + b"\xff\xff\xff\0"))
    write("ramp.bmp", bmp(13, 7, 8, palette=b"".join(bytes([i, i, i, 0]) for i in range(256))))
    write("few_colors.bmp", bmp(13, 7, 8, palette=colors[:80], colors=20))
    write("offset0.bmp", bmp(13, 7, 8, palette=colors, offset=0))
    write("offset54.bmp", bmp(13, 7, 8, palette=colors, offset=54))
    write("fields565.bmp", bmp(13, 7, 16, 3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F)))
    layouts = [(0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
               (0xFF, 0xFF00, 0xFF0000, 0xFF000000), (0xFF000000, 0xFF0000, 0xFF00, 0), (0, 0, 0, 0)]
    for i, masks in enumerate(layouts):
        write(f"fields32_{i}.bmp", bmp(13, 7, 32, 3, masks=struct.pack("<IIII", *masks),
                                       header=(108, 124)[i % 2]))
    row = b"\5\x3a\0\4\1\2\3\4\x0a\x7b\0\0"
    jump = b"\0\2\1\1\2\1"
    write("rle8.bmp", bmp(13, 7, 8, 1, colors, data=row * 3 + jump + b"\x0d\x11\0\0" * 7))
    write("rle4.bmp", bmp(13, 7, 4, 2, colors[:64], data=(b"\5\x3a\0\5\x12\x34\x0d\x7b\0\0" * 7)))
    write("bad_rle_short.bmp", bmp(13, 7, 8, 1, colors, data=row * 3 + b"\0\1"))
    write("bad_truncated.bmp", bmp(13, 7, 24)[:-5])
    write("bad_bits.bmp", bmp(13, 7, 2, palette=colors[:16]))
    write("bad_masks.bmp", bmp(13, 7, 16, 3, masks=struct.pack("<III", 0xF00, 0xF0, 0xF)))
    write("bad_header.bmp", bmp(13, 7, 24)[:40])


def make_pnm():
    for maxval in (1, 100, 255, 1000, 65535):
        for name, channels, plain, raw in (("pgm", 1, 2, 5), ("ppm", 3, 3, 6)):
            values = rng.integers(0, maxval + 1, 7 * 5 * channels)
            head = f"# drawn by a script\n7 5\n{maxval}\n".encode()
            kind = ">u2" if maxval > 255 else "u1"
            write(f"raw{maxval}.{name}", b"P%d\n" % raw + head + values.astype(kind).tobytes())
            write(f"plain{maxval}.{name}", b"P%d\n" % plain + head
                  + b" ".join(b"%d" % v for v in values) + b"\n")
    bits = rng.integers(0, 2, 11 * 3)
    write("plain.pbm", b"P1 11 3\n#c\n" + b"".join(b"%d" % b for b in bits))
    write("raw.pbm", b"P4 11 3\n" + rng.integers(0, 256, 6).astype(np.uint8).tobytes())
    write("joined.ppm", b"P3 2 1 255\n1 2#c\n3 4 5 6 7 8\n")
    write("bad_truncated.ppm", b"P6 7 5 255\n" + bytes(104))
    write("bad_plain.ppm", b"P3 2 1 255\n1 2 3 4 5 \n")
    write("bad_value.ppm", b"P3 1 1 255\n1 2 256\n")
    write("bad_maxval.pgm", b"P5 1 1 65536\n\0\0")
    write("bad_sides.pgm", b"P5 0 4 255\n")
    write("bad_bomb.pgm", b"P5 100000 100000 255\n")
    write("bad_claim.ppm", b"P6 13000 13000 255\n")
    write("bad_empty.jpg", b"")


def read(path, mode, upright):
    image = Image.open(path)
    if upright:
        image = ImageOps.exif_transpose(image)
    if image.mode == "I":  # the documented difference: the high byte, where Pillow would clip
        image.load()
        image = Image.fromarray((np.array(image) >> 8).astype(np.uint8))
    return image.convert(mode)


def describe(path):
    """The check sums of RGB and L, as stored and upright, or "refused"."""
    if path.stem in ("bad_idat_crc", "bad_no_end", "bad_end_cut", "bad_tail_crc") \
            and path.suffix == ".png":
        return "refused"  # Pillow looks at no check sum from IDAT on, and for no IEND
    try:
        images = [read(path, mode, upright) for upright in (False, True) for mode in ("RGB", "L")]
    except Exception:  # whatever Pillow raises
        return "refused"
    return " ".join([f"{images[0].width} {images[0].height}"] + [crc(image) for image in images])


def decode_table(paths, root):
    return "".join(f"{path.relative_to(root)} {describe(path)}\n" for path in paths)


def resize_cases():
    """FILE CHANNELS FILTER crop's LEFT TOP WIDTH HEIGHT, new WIDTH HEIGHT, check sum."""
    lines = []
    for name in ("base.jpg", "grey.jpg", "lossless.webp"):
        for mode in ("RGB", "L"):
            image = read(OUT / name, mode, False)
            for _ in range(12):
                w, h = (int(rng.integers(1, n + 1)) for n in image.size)
                left, top = int(rng.integers(0, image.width - w + 1)), int(
                    rng.integers(0, image.height - h + 1))
                size = [int(rng.integers(1, 80)), int(rng.integers(1, 80))]
                which = int(rng.integers(0, 2))
                out = functional.resized_crop(image, top, left, h, w, size, FILTERS[which])
                lines.append(f"{name} {len(mode) // 2 * 2 + 1} {which} {left} {top} {w} {h} "
                             f"{size[1]} {size[0]} {crc(out)}\n")
    return "".join(lines)


def transform_cases():
    """FILE CHANNELS FILTER RULE RESIZE WIDTH HEIGHT, check sums of the bytes and of the floats."""
    lines = []
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    cases = [(0, 0, 64, 56, 56), (0, 0, 36, 32, 32), (1, 0, 37, 33, 32), (1, 0, 20, 48, 40),
             (0, 0, 31, 64, 15), (0, 1, 0, 48, 48), (1, 1, 0, 17, 90), (0, 0, 255, 224, 224)]
    for name in ("base.jpg", "exif6.webp", "kind6_8.png", "raw65535.ppm"):
        for mode in ("RGB", "L"):
            channels = 3 if mode == "RGB" else 1
            for which, rule, resize, width, height in cases:
                if rule == 0:
                    steps = [transforms.Resize(resize, FILTERS[which]),
                             transforms.CenterCrop((height, width))]
                else:
                    steps = [transforms.Resize((height, width), FILTERS[which])]
                image = transforms.Compose(steps)(read(OUT / name, mode, False))
                tensor = transforms.Normalize(mean[:channels], std[:channels])(
                    transforms.ToTensor()(image))
                floats = zlib.crc32(tensor.numpy().astype("<f4").tobytes())
                lines.append(f"{name} {channels} {which} {rule} {resize} {width} {height} "
                             f"{crc(image)} {floats:08x}\n")
    return "".join(lines)


def shared_table():
    folders = [SHARED / "images" / name for name in ("pillow_odd", "imagenet_sample", "expected")]
    paths = [p for folder in folders for p in sorted(folder.iterdir()) if p.suffix != ".gif"]
    return decode_table(paths, SHARED)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        if old.name != "shared.txt":
            old.unlink()
    for make in (make_png, make_jpeg, make_webp, make_bmp, make_pnm):
        make()
    paths = sorted(OUT.iterdir())
    tables = {"decode.txt": decode_table([p for p in paths if p.suffix != ".txt"], OUT),
              "resize.txt": resize_cases(), "transform.txt": transform_cases()}
    for name, text in tables.items():
        (OUT / name).write_text(text)
    if SHARED.is_dir():
        (OUT / "shared.txt").write_text(shared_table())


main()
