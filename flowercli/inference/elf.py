"""Which libraries a shared library of Linux asks the loader for, read without loading it."""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# From the ELF specification and <elf.h>; only the 64-bit little-endian form, which is x86-64's and ARM's.
MAGIC = b"\x7fELF\x02\x01"
PROGRAM_HEADERS = struct.Struct("<Q")
PROGRAM_HEADERS_AT = 32
PROGRAM_HEADER_SIZES = struct.Struct("<HH")
PROGRAM_HEADER_SIZES_AT = 54
PROGRAM_HEADER = struct.Struct("<IIQQQQ")
DYNAMIC_ENTRY = struct.Struct("<qQ")
LOADED, DYNAMIC = 1, 2
END, NEEDED, STRINGS = 0, 1, 5


def needed_libraries(path: Path) -> tuple[str, ...]:
    """Return the ``DT_NEEDED`` names of a library in their order; none for a file of another format.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[: len(MAGIC)] != MAGIC:
            return ()
        try:
            return tuple(_needed(data))
        except struct.error:  # Cut off.
            return ()


def _needed(data: mmap.mmap) -> Iterator[str]:
    segments = list(_segments(data))
    entries = [entry for kind, offset, _, size in segments if kind == DYNAMIC for entry in _dynamic(data, offset, size)]
    address = dict(entries).get(STRINGS, 0)
    # The table of names is given by its address in memory; this is where it lies in the file.
    start = next(
        (at + address - base for kind, at, base, size in segments if kind == LOADED and base <= address < base + size),
        0,
    )
    for tag, value in entries:
        if tag == NEEDED:
            yield data[start + value : data.find(b"\0", start + value)].decode()


def _segments(data: mmap.mmap) -> Iterator[tuple[int, int, int, int]]:
    """Yield kind, offset in the file, address in memory and size of each segment."""
    (first,) = PROGRAM_HEADERS.unpack_from(data, PROGRAM_HEADERS_AT)
    size, count = PROGRAM_HEADER_SIZES.unpack_from(data, PROGRAM_HEADER_SIZES_AT)
    for number in range(count):
        kind, _, offset, address, _, in_file = PROGRAM_HEADER.unpack_from(data, first + number * size)
        yield kind, offset, address, in_file


def _dynamic(data: mmap.mmap, offset: int, size: int) -> Iterator[tuple[int, int]]:
    for at in range(offset, offset + size, DYNAMIC_ENTRY.size):
        tag, value = DYNAMIC_ENTRY.unpack_from(data, at)
        if tag == END:
            return
        yield tag, value
