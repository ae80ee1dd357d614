"""Refuse, before a decoder sees it, a file that is built to cost far more than its pixels.

Pillow walks the parts of some formats in Python, under the lock that all threads share, and libjpeg goes over a whole
progressive picture for each scan in the file, however empty. A file of 100 kB can take minutes so, and nothing can
interrupt the decoder. What is counted here are the parts; photographs have few.

Formats: ITU-T T.81 (JPEG), ISO/IEC 15948 (PNG), GIF89a, TIFF 6.0 and BigTIFF, ISO/IEC 15444-1 (JPEG 2000).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from flowercli.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

# Segments, chunks, blocks or boxes of one file, and bytes between them that belong to none.
MOST_PARTS: Final = 65_536
MOST_FILLER: Final = 65_536
# Scans times pixels. Encoders write about ten scans: this allows them for 100 megapixels.
MOST_SCANNED: Final = 1_000_000_000
# What libjpeg keeps of a picture with several scans: two bytes a coefficient.
MOST_COEFFICIENT_BYTES: Final = 300_000_000
# Values of one tag of a TIFF: a photograph of a row a strip has some ten thousand strips.
MOST_VALUES: Final = 100_000

SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
# Those without a length: TEM and the restarts.
BARE = frozenset({0x01, *range(0xD0, 0xD8)})
FIRST_WITH_LENGTH = 0xC0
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
NEXT_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
# Kinds of values that Pillow keeps as they are, in one piece; of all others it makes numbers.
PIECES = frozenset({1, 2, 7})
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
WIDTH, HEIGHT, COMPRESSION, ROWS_PER_STRIP, TILE_HEIGHT = 256, 257, 259, 278, 323
JPEG_IN_TIFF = frozenset({6, 7})
# Of damage to them libtiff writes a line to stderr for each row: a page of A4 has seven thousand at 600 dots an inch.
FAXES = frozenset({2, 3, 4, 32771})
MOST_FAX_ROWS: Final = 10_000


def check_structure(file: BinaryIO) -> int:
    """Look at the parts of a picture file, from its start, and leave it there.

    Returns:
        the bytes that libjpeg keeps beside the pixels: of a JPEG in several scans.

    Raises:
        ImageError: ``too_large``, it would take too long or too much memory. Damage is left to the decoder to tell.
    """
    head = file.read(16)
    file.seek(0)
    kept = 0
    if head.startswith(b"\xff\xd8"):
        kept = _check_jpeg(file)
    elif head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        _check_tiff(file)
    elif PORTABLE.match(head):
        _check_portable(file)
    for magic, (start, parts, what) in PARTS.items():
        if head.startswith(magic, start) and any(number >= MOST_PARTS for number, _ in enumerate(parts(file))):
            raise _too_many(what)
    file.seek(0)
    return kept


def _check_jpeg(file: BinaryIO) -> int:
    file.seek(2)
    filler, sizes, frame = 0, [0], 0
    for _ in range(MOST_PARTS):
        marker, skipped = _next_marker(file, MOST_FILLER - filler)
        filler += skipped
        if marker is None:
            return 0
        if marker in BARE or marker in {SOI, EOI}:  # An end before the first scan is of tables only.
            continue
        body = file.read(max(_number(file.read(2)) - 2, 0))
        if marker in FRAMES:
            frame, sizes = marker, _component_sizes(body)
        if marker == SOS:
            # A picture in one scan is decoded row by row, whatever follows.
            in_scans = frame in PROGRESSIVE or body[:1] != bytes([len(sizes)])
            return _check_scans(file.read(), sizes) if in_scans else 0
    raise _too_many("segments")


def _next_marker(file: BinaryIO, most: int) -> tuple[int | None, int]:
    """Return the next marker, ``None`` at the end, and how many bytes lie before it that belong to nothing."""
    skipped = 0
    while byte := file.read(1):
        if byte == b"\xff":
            while (byte := file.read(1)) == b"\xff":
                skipped += 1
                if skipped > most:
                    raise _too_many("bytes of filler")
            if byte and byte != b"\0":
                return byte[0], skipped
        skipped += 1
        if skipped > most:
            raise _too_many("bytes of filler")
    return None, skipped


def _component_sizes(frame: bytes) -> list[int]:
    """Return the number of coefficients of each component, of the body of a frame header."""
    height, width = _number(frame[1:3]), _number(frame[3:5])
    factors = [(factor >> 4) * (factor & 15) for factor in frame[7::3]]
    return [height * width * factor // max(*factors, 1) for factor in factors] or [0]


def _check_scans(data: bytes, sizes: list[int]) -> int:
    kept = 2 * sum(sizes)
    if kept > MOST_COEFFICIENT_BYTES:
        raise ImageError("too_large", "It is a JPEG of many scans, which takes too much memory at this size.")
    scans, place, parts = 1, 0, 0
    while (found := NEXT_MARKER.search(data, place)) and found[1][0] != EOI:
        place, parts = found.end(), parts + 1
        scans += found[1][0] == SOS
        if scans * max(sizes) > MOST_SCANNED or parts > MOST_PARTS:
            raise _too_many("scans")
        # libjpeg skips no more than the marker where it is of none of the kinds that have a length.
        if found[1][0] >= FIRST_WITH_LENGTH and found[1][0] != SOI:
            place += max(_number(data[place : place + 2]), 2)
    return kept


def _check_portable(file: BinaryIO) -> None:
    """Look for the numbers of a PPM's head, which Pillow reads byte by byte, through comments and white space."""
    head = file.read(MOST_FILLER)
    wanted = 3 if head[1:2] in b"14" else 4
    if len(head) == MOST_FILLER and len(COMMENT.sub(b" ", head).split(None, wanted)) <= wanted:
        raise _too_many("bytes of comments")


def _chunks(file: BinaryIO) -> Iterator[None]:
    """Go over the chunks of a PNG."""
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":  # noqa: PLR2004  (length and name)
        yield
        file.seek(_number(head[:4]) + 4, 1)


def _blocks(file: BinaryIO) -> Iterator[None]:
    """Go over the extensions of a GIF, and the blocks of each, up to the first picture."""
    file.seek(_colours(file.read(13)[10:11]), 1)
    while file.read(1) == b"!":
        yield
        file.seek(1, 1)
        while size := _number(file.read(1)):
            yield
            file.seek(size, 1)


def _colours(flags: bytes) -> int:
    """Return the bytes of the table of colours that follows."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _check_tiff(file: BinaryIO) -> None:
    head = file.read(16)
    order = "little" if head[:2] == b"II" else "big"

    def number(data: bytes) -> int:
        return int.from_bytes(data, order)  # type: ignore[arg-type]  # one of the two

    big = number(head[2:4]) == 43  # noqa: PLR2004  (BigTIFF's version)
    wide = 8 if big else 4
    file.seek(number(head[8:16] if big else head[4:8]))
    tags: dict[int, int] = {}
    count = number(file.read(8 if big else 2))
    if count >= MOST_PARTS:
        raise _too_many("tags")
    for _ in range(count):
        entry = file.read(4 + 2 * wide)
        tag, kind, count = number(entry[:2]), number(entry[2:4]), number(entry[4 : 4 + wide])
        if kind not in PIECES and count > MOST_VALUES:
            raise _too_many("values")
        # Of one that is there twice, Pillow takes the first.
        tags.setdefault(tag, number(entry[4 + wide :][: SIZES.get(kind, wide) if count == 1 else wide]))
    if tags.get(COMPRESSION) in FAXES and tags.get(HEIGHT, 0) > MOST_FAX_ROWS:
        raise _too_many("rows")
    if tags.get(COMPRESSION) in JPEG_IN_TIFF:
        file.seek(0)
        height = tags.get(HEIGHT, 1)
        rows = tags.get(TILE_HEIGHT) or min(tags.get(ROWS_PER_STRIP) or height, height)
        # Where these bytes are something else it is by chance, one place in 65,536.
        if file.read().count(b"\xff\xda") * rows * tags.get(WIDTH, 1) > 4 * MOST_SCANNED:
            raise _too_many("scans")


def _boxes(file: BinaryIO) -> Iterator[None]:
    """Go over the boxes of a JPEG 2000 as Pillow does, those in the header box too, up to the picture."""
    while len(head := file.read(8)) == 8 and head[4:] != b"jp2c":  # noqa: PLR2004  (length and name)
        yield
        length = _number(file.read(8)) - 8 if head[:4] == b"\0\0\0\1" else _number(head[:4])
        if head[4:] != b"jp2h":
            file.seek(max(length - 8, 0), 1)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _too_many(what: str) -> ImageError:
    return ImageError("too_large", f"It has too many {what} to be a photograph: decoding it would take too long.")


PORTABLE: Final = re.compile(rb"P[1-6fFy]")
COMMENT: Final = re.compile(rb"#[^\r\n]*")
# By what a file has at a place: how to go over its parts, and what they are called.
PARTS: Final[dict[bytes, tuple[int, Callable[[BinaryIO], Iterator[None]], str]]] = {
    b"\x89PNG": (0, _chunks, "chunks"),
    b"GIF8": (0, _blocks, "blocks"),
    b"jP  ": (4, _boxes, "boxes"),
}
