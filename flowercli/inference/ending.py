"""Whether a picture file ends before it says that it does: told of what no decoder could read, so that people know why.

Formats: RIFF (WebP), ISO/IEC 14496-12 (the boxes of AVIF, HEIC and JPEG 2000), ISO/IEC 15444-1 (its bare codestream).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flowercli.inference.heif import BRANDS

if TYPE_CHECKING:
    from typing import BinaryIO

MOST_BOXES = 1000
AVIF = frozenset({b"avif", b"avis"})
SIGNATURE = b"\0\0\0\x0cjP  "
CODESTREAM, END_OF_CODESTREAM = b"\xff\x4f\xff\x51", b"\xff\xd9"


def is_cut_off(file: BinaryIO) -> bool:
    """Tell whether a file of these formats is shorter than it says."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head.startswith(b"RIFF") and head[8:] == b"WEBP":
        return size < 8 + int.from_bytes(head[4:8], "little")
    if head.startswith(CODESTREAM):
        file.seek(max(size - 2, 0))
        return file.read(2) != END_OF_CODESTREAM
    of_these = head.startswith(SIGNATURE) or (head[4:8] == b"ftyp" and head[8:] in BRANDS | AVIF)
    return of_these and _ends_in_a_box(file, size)


def _ends_in_a_box(file: BinaryIO, size: int) -> bool:
    place = 0
    for _ in range(MOST_BOXES):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:  # noqa: PLR2004  (length and name)
            return place < size
        length = int.from_bytes(head[:4], "big")
        if length == 0:  # To the end of the file: of it nothing can be told.
            return False
        place += int.from_bytes(head[8:], "big") if length == 1 else max(length, 8)
        if place >= size:
            return place > size
    return False
