"""A decompressed stream that gives out only so much: whatever an archive claims, memory and disk stay safe."""

from __future__ import annotations

import bz2
import gzip
import lzma
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from flowercli.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

OPENERS: dict[bytes, Callable[[Path], object]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
# tarfile reads the head of a member, of whatever length it claims, into memory at once.
MAX_READ = 2**20


class BoundedStream:
    """What ``tarfile`` needs of a file: read, seek forward, tell."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream = stream
        self._most = most
        self.last_read = b""

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
        if size > MAX_READ:
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
