"""Odd pictures as bytes, each with the code that is promised for it; the same each time, made in a few seconds.

``ok`` is an answer, the other codes are those of :class:`flowercli.errors.ImageError`. What a kind of odd picture
gets is a rule; the few exceptions stand beside it.
"""

from __future__ import annotations

import base64
import gzip
import importlib.util
import io
import random
import struct
import zipfile
import zlib
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin, features
from support.hostile_pictures import DISPLAY_P3, EXPENSIVE, PROPHOTO, chunk, gradient, profile, saved

if TYPE_CHECKING:
    from collections.abc import Iterator

# The formats on the list, and the modes that a file of each can hold.
MODES = {
    "JPEG": "1 L RGB CMYK", "PNG": "1 L LA P RGB RGBA I;16", "GIF": "1 L P RGBA", "BMP": "1 L P RGB RGBA",
    "PPM": "1 L RGB I;16 F", "TIFF": "1 L LA P PA RGB RGBA CMYK LAB I;16 I F", "WEBP": "L RGB RGBA",
    "AVIF": "L RGB RGBA", "JPEG2000": "L LA RGB RGBA I;16", "HEIF": "L LA RGB RGBA I;16",
}  # fmt: skip
FEATURES = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
# Pillow writes these, and none of its readers of them is reached; `save` wants some modes.
UNREAD = dict.fromkeys(("EPS", "PDF", "ICO", "PCX", "TGA", "DDS", "ICNS", "SGI", "DIB"), "RGB")
UNREAD |= {"XBM": "1", "MSP": "1", "SPIDER": "F"}
# Of the first twelve bytes.
BEGUN = {"PPM": "unreadable", "JPEG2000": "unreadable"} | dict.fromkeys(("JPEG", "WEBP", "AVIF", "HEIF"), "truncated")
# Of a picture without a pixel. The frame of a GIF has a size of its own.
NOTHING = {"GIF": "ok", "WEBP": "unreadable"}
# Where width and height stand in a header: behind what, how many bytes on, how, and how far apart.
SIZES = {
    "JPEG": (b"\xff\xc0", 5, ">H", 2), "PNG": (b"IHDR", 4, ">I", 4), "GIF": (b"GIF8", 6, "<H", 2),
    "BMP": (b"BM", 18, "<i", 4), "TIFF": (b"\0\1\4\0\1", 8, "<I", 12), "WEBP": (b"VP8 ", 14, "<H", 2),
    "JPEG2000": (b"ihdr", 4, ">I", 4), "AVIF": (b"ispe", 8, ">I", 4), "HEIF": (b"ispe", 8, ">I", 4),
}  # fmt: skip
HEIGHT_FIRST = frozenset({"JPEG", "JPEG2000"})
HUGE = {"WEBP": 16383, "AVIF": 16383, "HEIF": 16383}
# Left, top, and the steps of the passes of an interlaced PNG.
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
ORIENTATION, ICC = 0x0112, 34675
ADOBE = b"\xff\xee\x00\x0eAdobe"


class Odd(NamedTuple):
    """An input."""

    name: str
    data: bytes
    code: str = "ok"


@cache
def photo() -> Image.Image:
    """Return a picture with some noise, so that no file of it is small."""
    noise = np.random.default_rng(0).integers(-40, 40, (120, 160, 3))
    return Image.fromarray((np.asarray(gradient(160, 120)).astype(int) + noise).clip(0, 255).astype(np.uint8))


def in_mode(mode: str) -> Image.Image:
    """Return the photograph in a mode of Pillow's."""
    if mode == "I;16":
        return Image.fromarray(np.asarray(photo().convert("L")).astype(np.uint16) * 257)
    return photo().convert(mode)


def exif(orientation: int = 6) -> bytes:
    """Return EXIF data that say how a picture is to be turned."""
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data.tobytes()


def encoded(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    """Return a picture, the photograph if none is given, in a format on the list."""
    # A copy, as Pillow keeps settings of the last format in it.
    image = (photo() if image is None else image).copy()
    if kind != "HEIF":
        return saved(image, kind, **options)
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, **{"exif": exif(1), **options})
    return buffer.getvalue()


@cache
def kinds() -> tuple[str, ...]:
    """Return the formats that can be written here."""
    found = [kind for kind in MODES if kind != "HEIF" and (kind not in FEATURES or features.check(FEATURES[kind]))]
    return (*found, *(["HEIF"] if importlib.util.find_spec("pillow_heif") else []))


@cache
def plain(kind: str) -> bytes:
    """Return the photograph in a format on the list."""
    return encoded(kind)


def modes() -> Iterator[Odd]:
    """Yield every format in every mode."""
    for kind in kinds():
        for mode in MODES[kind].split():
            yield Odd(f"{kind} {mode}", encoded(kind, in_mode(mode)))


def shapes() -> Iterator[Odd]:
    """Yield pictures of a single pixel, row or column."""
    for kind in kinds():
        for width, height in ((1, 1), (1, 3000), (3000, 1)):
            yield Odd(f"{kind} {width}x{height}", encoded(kind, photo().resize((width, height))))


def damaged() -> Iterator[Odd]:
    """Yield files that were cut off, joined with something else, or lost their first byte to another."""
    for kind in kinds():
        data = plain(kind)
        for part, whole in ((1, 4), (1, 2), (9, 10)):
            yield Odd(f"{kind} cut at {part}/{whole}", data[: len(data) * part // whole], "truncated")
        yield Odd(f"{kind} and junk", data + b"junk" * 1000)
        yield Odd(f"junk and {kind}", b"junk" + data, "not_an_image")
        place = 4 if data[4:8] == b"ftyp" else 0
        yield Odd(f"{kind} of another first byte", data[:place] + b"?" + data[place + 1 :], "not_an_image")


def of_size(kind: str, width: int, height: int) -> bytes:
    """Return a file whose header says another size."""
    if kind == "PPM":
        return plain(kind).replace(b"160 120", b"%d %d" % (width, height))
    mark, skipped, form, apart = SIZES[kind]
    data = bytearray(plain(kind))
    place = data.index(mark) + skipped
    for number, value in enumerate((height, width) if kind in HEIGHT_FIRST else (width, height)):
        struct.pack_into(form, data, place + number * apart, value)
    if kind == "PNG":
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


def sizes() -> Iterator[Odd]:
    """Yield headers that promise nothing, or far too much."""
    for kind in kinds():
        yield Odd(f"{kind} of no width", of_size(kind, 0, 120), NOTHING.get(kind, "not_an_image"))
        yield Odd(f"{kind} of gigapixels", of_size(kind, *[HUGE.get(kind, 65535)] * 2), "too_large")


def codings() -> Iterator[Odd]:
    """Yield the less common ways to code a picture in a format on the list."""
    alone = {
        "JPEG progressive": {"progressive": True}, "JPEG 4:4:4": {"subsampling": 0},
        "JPEG of quality 1": {"quality": 1}, "JPEG with restarts": {"restart_marker_rows": 1},
        "JPEG stored as RGB": {"keep_rgb": True}, "GIF not interlaced": {"interlace": 0},
        "WEBP lossless": {"lossless": True}, "TIFF big": {"big_tiff": True},
        "JPEG2000 lossy": {"irreversible": True, "quality_layers": [20]},
        "JPEG2000 tiled": {"tile_size": (64, 64)}, "JPEG2000 without a box": {"no_jp2": True},
    }  # fmt: skip
    packed = {f"TIFF {name}": {"compression": name} for name in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")}
    doubled = {f"{kind} of two pictures": two_pictures() for kind in ("MPO", "PNG", "GIF", "WEBP", "TIFF", "AVIF")}
    for name, options in (alone | packed | doubled).items():
        kind = name.partition(" ")[0]
        if kind in {"MPO", *kinds()}:
            yield Odd(name, encoded(kind, **options))
    yield Odd("TIFF group4", encoded("TIFF", in_mode("1"), compression="group4"))
    yield Odd("PNG P transparent", encoded("PNG", in_mode("P"), transparency=3))
    yield Odd("GIF P transparent", encoded("GIF", in_mode("P"), transparency=3))
    yield Odd("TIFF F of nothing but NaN", encoded("TIFF", Image.new("F", (40, 30), float("nan"))))


def two_pictures() -> dict[str, object]:
    """Return the options that store a second picture: an animation, or pages."""
    return {"save_all": True, "append_images": [photo().rotate(180)]}


def by_hand() -> Iterator[Odd]:
    """Yield what Pillow reads and does not write."""
    cmyk = encoded("JPEG", in_mode("CMYK"))
    place = cmyk.index(ADOBE)
    yield Odd("JPEG CMYK without Adobe's marker", cmyk[:place] + cmyk[place + 16 :])
    for depth, colours, channels in ((1, 0, 1), (2, 0, 1), (4, 0, 1), (16, 4, 2), (16, 2, 3), (16, 6, 4)):
        yield Odd(f"PNG of {channels} x {depth} bits", png(depth, colours, channels))
    yield Odd("PNG interlaced", png(8, 2, 3, ADAM7))
    yield Odd("PPM in words", b"P3\n4 3\n255\n" + b"1 2 3 " * 12)
    yield Odd("PPM in words of one bit", b"P1\n4 3\n" + b"1 0 " * 6)
    yield Odd("PPM with a comment", b"P6\n# rose\n4 3\n255\n" + bytes(36))
    pam = b"P7\nWIDTH 4\nHEIGHT 3\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes(36)
    yield Odd("PPM that says P7", pam, "not_an_image")
    head = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 1086, 0, 0, 1078, 40, 4, 4, 1, 8, 1, 0, 0, 0, 256, 0)
    yield Odd("BMP of run lengths", head + bytes(1024) + b"\4\1\0\0" * 4 + b"\0\1")
    yield Odd("BMP of OS/2", struct.pack("<2sIHHIIHHHH", b"BM", 74, 0, 0, 26, 12, 4, 4, 1, 24) + bytes(48))


def png(depth: int, colours: int, channels: int, passes: tuple[tuple[int, ...], ...] = ((0, 0, 1, 1),)) -> bytes:
    """Return a PNG of 33 x 33 random pixels, interlaced if there are several passes."""
    draw, rows = random.Random(depth), b""
    for left, top, across, down in passes:
        width = (len(range(left, 33, across)) * channels * depth + 7) // 8
        rows += b"".join(b"\0" + draw.randbytes(width) for _ in range(top, 33, down))
    header = struct.pack(">IIBBBBB", 33, 33, depth, colours, 0, 0, len(passes) > 1)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def orientations() -> Iterator[Odd]:
    """Yield pictures that say how they are to be turned, some of them nonsense."""
    for orientation in (*range(10), 65535):
        yield Odd(f"JPEG of orientation {orientation}", encoded("JPEG", exif=exif(orientation)))
    for kind in sorted({"PNG", "WEBP", "TIFF", "AVIF", "HEIF"} & set(kinds())):
        yield Odd(f"{kind} of orientation 6", encoded(kind, exif=exif()))


def metadata() -> Iterator[Odd]:
    """Yield pictures with broken and huge metadata."""
    wide = profile(DISPLAY_P3, 2.2, "wide")
    long_exif, long_icc = exif() + bytes(2**21), bytes(5 * 2**20)
    exifs = {"cut": exif()[:-9], "of nonsense": b"Exif\0\0nonsense", "huge": long_exif}
    iccs = {"nonsense": b"nonsense", "half": wide[:200], "wide": wide, "grey": wide.replace(b"RGB ", b"GRAY")}
    iccs |= {"ProPhoto": profile(PROPHOTO, 1.8, "p"), "huge": long_icc}
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        if kind in kinds():
            for name, data in exifs.items():
                if kind != "TIFF" and (kind, name) != ("JPEG", "huge"):  # A JPEG has no room for it.
                    yield Odd(f"{kind} of EXIF {name}", encoded(kind, exif=data))
            yield from (Odd(f"{kind} of profile {name}", encoded(kind, icc_profile=icc)) for name, icc in iccs.items())
    yield Odd("JPEG CMYK of profile wide", encoded("JPEG", in_mode("CMYK"), icc_profile=wide))
    yield Odd("JPEG with a comment", encoded("JPEG", comment=b"x" * 65_000))
    for kind in (3, 5, 11):
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags.tagtype[ICC] = kind
        tags[ICC] = 5
        yield Odd(f"TIFF whose profile is a number of type {kind}", encoded("TIFF", tiffinfo=tags))
    data, text = plain("PNG"), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**21)))
    yield Odd("PNG with two megabytes of text", data[:33] + text + data[33:])
    yield Odd("PNG with text behind the picture", data[:-12] + text + data[-12:])
    if "HEIF" in kinds():
        yield Odd("HEIF without EXIF", encoded("HEIF", exif=None))


def others() -> Iterator[Odd]:
    """Yield pictures in formats that are not on the list."""
    for kind, mode in UNREAD.items():
        yield Odd(kind, saved(in_mode(mode).resize((64, 64)), kind), "not_an_image")
    for name, data in {
        "PSD": struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 4, 4, 8, 3) + bytes(62),
        "FLI": struct.pack("<IHHHHH", 128, 0xAF11, 1, 4, 4, 8) + bytes(120),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
        "WMF": struct.pack("<IHhhhhHIH", 0x9AC6CDD7, 0, 0, 0, 9, 9, 96, 0, 0) + bytes(18),
        "XPM": b'/* XPM */\nstatic char *a[] = {"1 1 1 1", "a c #ff0000", "a"};\n',
        "MP4": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(100),
        "RAW": b"FUJIFILMCCD-RAW 0201" + bytes(200),
        "JPEG XL": b"\xff\x0a" + bytes(100),
    }.items():
        yield Odd(name, data, "not_an_image")


def no_pictures() -> Iterator[Odd]:
    """Yield what is no picture."""
    jpeg, archive = plain("JPEG"), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(zipfile.ZipInfo("rose.jpg"), jpeg)
    yield Odd("nothing", b"", "empty")
    for name, data in {
        "one byte": b"x", "a line end": b"\n", "zeros": bytes(9999), "ones": b"\xff" * 9999, "spaces": b" " * 9999,
        "text": b"This is not a picture.\n" * 50, "text in UTF-16": "This is not a picture.".encode("utf-16"),
        "HTML": b"<!doctype html><title>404</title><img src=rose.jpg>", "JSON": b'{"images": []}',
        "base64": base64.b64encode(jpeg), "a data URL": b"data:image/jpeg;base64," + base64.b64encode(jpeg),
        "zip": archive.getvalue(), "gzip": gzip.compress(jpeg, mtime=0), "ELF": b"\x7fELF\2\1\1" + bytes(200),
        "a script": b"#!/bin/sh\nexit 1\n", "a picture backwards": jpeg[::-1],
        **{f"random {size}": random.Random(size).randbytes(size) for size in (10, 1000, 100_000)},
    }.items():  # fmt: skip
        yield Odd(name, data, "not_an_image")
    for kind in kinds():
        yield Odd(f"the first twelve bytes of {kind}", plain(kind)[:12], BEGUN.get(kind, "not_an_image"))


def expensive() -> Iterator[Odd]:
    """Yield what is built to take long."""
    return (Odd(name.replace("_", " "), make(), "too_large") for name, make in EXPENSIVE.items())


def largest() -> Iterator[Odd]:
    """Yield what is only just read by a server: 50 megapixels, or 390 MB while it is decoded."""
    for kind, mode, side, options in (
        ("PNG", "RGBA", 6900, {"compress_level": 1}), ("PNG", "LA", 6900, {"compress_level": 1}),
        ("GIF", "P", 6900, {}), ("JPEG", "RGB", 7000, {"progressive": True}),
        ("TIFF", "F", 6500, {"compression": "tiff_deflate"}), ("TIFF", "LAB", 5700, {"compression": "tiff_deflate"}),
        ("WEBP", "RGB", 4900, {"lossless": True, "method": 0}), ("AVIF", "RGB", 6200, {"speed": 10}),
        ("JPEG2000", "RGB", 4400, {}),
    ):  # fmt: skip
        if kind in kinds():
            yield Odd(f"{kind} {mode} {side}x{side}", encoded(kind, Image.new(mode, (side, side), 1), **options))


@cache
def odd_inputs() -> tuple[Odd, ...]:
    """Return all of them that are quick."""
    groups = modes, shapes, damaged, sizes, codings, by_hand, orientations, metadata, others, no_pictures, expensive
    found = (odd for group in groups for odd in group())
    return tuple(found)
