"""Pictures that cost far more than their pixels, or start what nobody wants started; made in a moment."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of a picture."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    """Return a picture of more than one colour."""
    y, x = np.mgrid[0:height, 0:width]
    red, green, blue = 255 * x // width, 255 * y // height, (x + y) % 256
    return Image.fromarray(np.stack([red, green, blue], axis=-1).astype(np.uint8))


def many_scans(count: int = 10_000) -> bytes:
    """Return a progressive JPEG with as many empty scans."""
    data = saved(gradient(2000, 1500), "JPEG", progressive=True)
    empty = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00"
    return data[:-2] + empty * count + data[-2:]


def hidden_scans() -> bytes:
    """Return one whose scans come behind what looks like an end, inside a comment."""
    data = many_scans()
    place = data.index(b"\xff\xda")
    return data[:place] + b"\xff\xfe\x00\x06\xff\xd9\xff\xd9" + data[place:]


def behind_an_end() -> bytes:
    """Return one whose scans come behind an empty picture."""
    return b"\xff\xd8\xff\xd9" + many_scans()


def behind_a_reserved_marker() -> bytes:
    """Return one whose scans lie where a marker without a length seems to have one."""
    data = many_scans(0)
    empty = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00"
    return data[:-2] + (b"\xff\x02\xff\xf0" + empty * 6_000) * 2 + data[-2:]


def run_of_ones() -> bytes:
    """Return a progressive JPEG with a megabyte of 0xFF before its end."""
    data = saved(gradient(2000, 1500), "JPEG", progressive=True)
    return data[:-2] + b"\xff" * 1_000_000 + b"\0" + b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00" * 5_000 + data[-2:]


def filler() -> bytes:
    """Return a JPEG with megabytes of padding before its first segment."""
    data = saved(gradient(), "JPEG")
    return data[:2] + b"\xff" * 8_000_000 + data[2:]


def junk() -> bytes:
    """Return a JPEG with megabytes that belong to no segment."""
    data = saved(gradient(), "JPEG")
    return data[:2] + b"\x01" * 8_000_000 + data[2:]


def many_segments() -> bytes:
    """Return a JPEG of a million empty comments."""
    data = saved(gradient(), "JPEG")
    return data[:2] + b"\xff\xfe\x00\x02" * 1_000_000 + data[2:]


def chunk(name: bytes, body: bytes = b"") -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def many_chunks() -> bytes:
    """Return a PNG of a million empty chunks."""
    data = saved(gradient(), "PNG")
    return data[:33] + chunk(b"vpAg") * 1_000_000 + data[33:]


def many_blocks() -> bytes:
    """Return a GIF with a comment of a million blocks of a byte."""
    data = saved(gradient().convert("P"), "GIF")
    start = 13 + (3 << ((data[10] & 7) + 1))
    return data[:start] + b"!\xfe" + b"\x01 " * 1_000_000 + b"\0" + data[start:]


def many_values() -> bytes:
    """Return a TIFF that says it has a million strips."""
    count = 1_000_000
    tags = [(256, 4, 1, 64), (257, 4, 1, 48), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, count, 200)]
    tags += [(278, 4, 1, 1), (279, 4, count, 200)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries).ljust(200, b"\0") + bytes(4 * count)


def many_scans_in_strips() -> bytes:
    """Return a TIFF whose one strip is a progressive JPEG of thousands of empty scans."""
    body = many_scans(5_000)
    tags = [(256, 4, 1, 2000), (257, 4, 1, 1500), (258, 3, 1, 8), (259, 3, 1, 7), (262, 3, 1, 6), (273, 4, 1, 200)]
    tags += [(277, 3, 1, 3), (278, 4, 1, 1500), (279, 4, 1, len(body))]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries).ljust(200, b"\0") + body


def many_boxes() -> bytes:
    """Return a JPEG 2000 of a million empty boxes."""
    signature = b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 "
    return signature + b"\0\0\0\x08free" * 1_000_000


def signed_values() -> bytes:
    """Return a TIFF that says it has a million strips, in signed bytes."""
    return many_values().replace(struct.pack("<HHI", 273, 4, 1_000_000), struct.pack("<HHI", 273, 6, 1_000_000))


def many_tags() -> bytes:
    """Return a BigTIFF of more tags than are looked at."""
    entry = struct.pack("<HHQQ", 60_000, 3, 1, 1)
    return struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, 70_000) + entry * 70_000 + bytes(8)


def long_comment() -> bytes:
    """Return a PPM with a comment that Pillow reads byte by byte."""
    return b"P6\n#" + b"a" * 4_000_000 + b"\n1 1 255\n\0\0\0"


def plain_text() -> bytes:
    """Return a picture in words, which Pillow reads in Python."""
    return b"P3 2000 2000 255\n" + b"1 2 3\n" * 4_000_000


def run_lengths() -> bytes:
    """Return a BMP of run lengths that end and end again, which Pillow reads in Python."""
    header = struct.pack("<IiiHHIIiiII", 40, 600, 600, 1, 8, 1, 0, 0, 0, 256, 0)
    start = 14 + 40 + 1024
    body = b"\0\2\0\0" * 2_000_000
    return struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + header + bytes(1024) + body


def postscript() -> bytes:
    """Return what Pillow would start Ghostscript for."""
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"


EXPENSIVE = {
    make.__name__: make
    for make in (
        many_scans, hidden_scans, behind_an_end, behind_a_reserved_marker, run_of_ones, signed_values, many_tags,
        long_comment, filler, junk, many_segments, many_chunks, many_blocks, many_values,
        many_scans_in_strips, many_boxes, plain_text, run_lengths,
    )
}  # fmt: skip


def profile(gamut: tuple[tuple[float, float, float], ...], gamma: float, name: str) -> bytes:
    """Return an ICC profile (version 2, of three primaries adapted to D50 and one gamma)."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    text = name.encode()
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"CC0\0",
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249),
        **{
            colour + b"XYZ": b"XYZ " + bytes(4) + fixed(*primary)
            for colour, primary in zip((b"r", b"g", b"b"), gamut, strict=True)
        },
        **{
            colour + b"TRC": b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
            for colour in (b"r", b"g", b"b")
        },
    }
    table, bodies = struct.pack(">I", len(tags)), b""
    for tag, body in tags.items():
        table += struct.pack(">4sII", tag, 128 + 4 + 12 * len(tags) + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    size = 128 + len(table) + len(bodies)
    head = struct.pack(">I4s4s4s4s4s", size, b"none", b"\x02\x10\0\0", b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + table + bodies


# Of the primaries of DCI-P3 with the white of sRGB, as telephones have, and of ProPhoto RGB; both adapted to D50.
DISPLAY_P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
PROPHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))
