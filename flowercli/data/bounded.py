"""Files of archives that give out only so much: whatever an archive claims, memory and disk stay safe."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from flowercli.errors import ArchiveError

OPENERS: dict[bytes, Callable[[Path], object]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
# tarfile reads the head of a member, of whatever length it claims, into memory at once.
MAX_READ = 2**20
# The reads of the heads before one member: two for each of a long name, a long link, PAX's for it and for all.
MAX_READS = 16
MAX_HEADS = 2 * MAX_READ
# Of a zip's directory, for each member: 46 bytes, a name and what is beside it.
ENTRY = 2**9
ENTRY_START = b"PK\x01\x02"


class BoundedStream:
    """What ``tarfile`` needs of a file: read, seek forward, tell."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream = stream
        self._most = most
        self.last_read = b""
        self._head: list[int] | None = None

    @contextmanager
    def head(self) -> Iterator[None]:
        """Take what is read for the heads before one member: ``tarfile`` follows a chain of any length."""
        self._head = []
        try:
            yield
        finally:
            self._head = None

    @classmethod
    def open(cls, path: Path, most: int) -> Self:
        """Open a file, compressed or not, of which ``most`` bytes may be read."""
        with path.open("rb") as file:
            start = file.read(8)
        for magic, opener in OPENERS.items():
            if start.startswith(magic):
                return cls(cast("BinaryIO", opener(path)), most)
        return cls(path.open("rb"), most)

    @staticmethod
    def too_much(most: int) -> ArchiveError:
        """Return the error about an archive that holds more than it may."""
        message = f"The archive is refused: it unpacks to more than {most / 1e6:.0f} MB, which is no likely size."
        return ArchiveError(message, hint="Nothing was written. Get the archive from a place that you trust.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def read(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            ArchiveError: they are more than a member's head can have, or than may come out of this archive.
        """
        if self._head is not None:
            self._head.append(size)
        if size > MAX_READ or sum(self._head or ()) > MAX_HEADS or len(self._head or ()) > MAX_READS:
            raise ArchiveError("The archive is refused: a member has an unlikely head.", hint="Nothing was written.")
        self._check(self.tell() + size)
        self.last_read = self._stream.read(size)
        return self.last_read

    def seek(self, position: int) -> int:
        """Go to a position."""
        self._check(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()

    def exhaust(self) -> None:
        """Read to the end, so that the checksum is compared."""
        while self.read(MAX_READ):
            pass

    def _check(self, position: int) -> None:
        if position > self._most + MAX_READ:
            raise self.too_much(self._most)


class BoundedDirectory(io.BufferedReader):
    """What ``zipfile`` needs of a file; it reads the directory, of whatever length, into memory and objects at once."""

    def __init__(self, path: Path, members: int) -> None:
        super().__init__(io.FileIO(path))
        self._members = members

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes.

        Raises:
            ArchiveError: they are a directory of more members than there may be.
        """
        if size is not None and size > max(self._members * ENTRY, MAX_READ):
            raise too_many(self._members)
        content = super().read(size)
        if content.count(ENTRY_START) > self._members:
            raise too_many(self._members)
        return content


def too_many(members: int) -> ArchiveError:
    """Return the error about an archive that holds more files and folders than it may."""
    message = f"The archive is refused: it has more than {members} members."
    return ArchiveError(message, hint="A dataset of this size is better kept as several.")
