"""JPEG 2000 (ISO/IEC 15444-1): how far a picture is reduced while it is decoded, and which ones are refused.

Pillow decodes it under the lock that all threads share: a photograph of 16 megapixels stopped everything for a second.
The format holds smaller versions of a picture, each half as wide, and decoding one takes a quarter of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from flowercli.errors import ImageError

if TYPE_CHECKING:
    from typing import BinaryIO

FORMAT: Final = "JPEG2000"
START: Final = b"\xff\x4f\xff\x51"
CODING_STYLE: Final = 0x52
START_OF_TILE: Final = 0x90
# Of what is decoded: a quarter of a second's work, in pixels, and in bytes that hold nothing but noise.
MOST_PIXELS: Final = 6_000_000
MOST_BYTES: Final = 2_000_000
# Parts of parts of a picture, each of which the decoder sets up before it reads one.
MOST_PACKETS: Final = 200_000
MOST_MARKERS: Final = 1000


class Coding(NamedTuple):
    """How a picture is coded: how many smaller versions it has, and how many packets its bytes are divided into."""

    levels: int
    packets: int


def reduction(file: BinaryIO, size: tuple[int, int], shorter_side: int) -> int:
    """Return how many times to halve a picture so that its shorter side is not below this.

    Args:
        file: the picture's; its place is kept.
        size: width and height in pixels.
        shorter_side: in pixels.

    Raises:
        ImageError: ``too_large``, decoding even that would stop all threads for too long.
    """
    place = file.tell()
    file.seek(0)
    coding = _coding(file)
    end = file.seek(0, 2)
    file.seek(place)
    if coding.packets > MOST_PACKETS:
        raise ImageError("too_large", "It has too many parts to be a photograph: decoding it would take too long.")
    halvings = 0
    while halvings < coding.levels and min(size) >> (halvings + 1) >= shorter_side and _fits(size, halvings + 1):
        halvings += 1
    if size[0] * size[1] >> 2 * halvings > MOST_PIXELS or end >> 2 * halvings > MOST_BYTES:
        limit = f"{MOST_PIXELS / 1e6:.0f} megapixels and {MOST_BYTES / 1e6:.0f} MB"
        raise ImageError("too_large", f"A JPEG 2000 without smaller versions of itself is read up to {limit}.")
    return halvings


def _fits(size: tuple[int, int], halvings: int) -> bool:
    """Whether Pillow expects the size that the decoder gives: it rounds where the format rounds up."""
    half = 1 << halvings >> 1
    return all((side + half) >> halvings == -(-side >> halvings) for side in size)


def _coding(file: BinaryIO) -> Coding:
    """Read the headers of the whole picture, up to its first tile; of damaged ones the decoder tells."""
    head = file.read(2**20)
    start = head.find(START)
    if start < 0:
        return Coding(0, 0)
    at = start + 2
    sizes = head[at + 6 : at + 38]
    components = _number(head[at + 38 : at + 40])
    for _ in range(MOST_MARKERS):
        if len(head) < at + 4 or head[at + 1] == START_OF_TILE:
            break
        length = _number(head[at + 2 : at + 4])
        if head[at + 1] == CODING_STYLE:
            return _of_style(head[at + 4 : at + 2 + length], sizes, components)
        at += 2 + length
    return Coding(0, 0)


def _of_style(style: bytes, sizes: bytes, components: int) -> Coding:
    if len(style) < 10 or len(sizes) < 32:  # noqa: PLR2004  (their lengths)
        return Coding(0, 0)
    right, bottom, _, _, tile_width, tile_height, left, top = (_number(sizes[at : at + 4]) for at in range(0, 32, 4))
    layers, levels = _number(style[2:4]), style[5]
    tiles = -(-(right - left) // max(tile_width, 1)) * -(-(bottom - top) // max(tile_height, 1))
    width, height = min(tile_width, right), min(tile_height, bottom)
    # Without sizes of their own, precincts are as large as can be.
    exponents = style[10:] if style[0] & 1 else b"\xff" * (levels + 1)
    precincts = 0
    for level, exponent in enumerate(exponents[: levels + 1]):
        scale = levels - level
        precincts += -(-width >> scale + (exponent & 15)) * -(-height >> scale + (exponent >> 4))
    return Coding(levels, tiles * layers * components * precincts)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")
