"""Files of this machine as the source of a transfer: ``file://`` addresses."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from flowercli.errors import DownloadError

if TYPE_CHECKING:
    from flowercli.transfer.contract import Request

CHUNK = 2**18


class FileStream:
    """The bytes of a file; its time and length tell whether it has changed."""

    def __init__(self, file: BinaryIO, offset: int, total: int, validator: str) -> None:
        self._file = file
        self.offset = offset
        self.total: int | None = total
        self.validator: str | None = validator

    def read(self) -> bytes:
        """Return the next bytes."""
        return self._file.read(CHUNK)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_stream(request: Request) -> FileStream:
    """Open a file; it answers at once, whatever the patience.

    Raises:
        DownloadError: there is no such file, or it cannot be read.
    """
    path = Path(urllib.request.url2pathname(urlsplit(request.url).path))
    try:
        state = path.stat()
        file = path.open("rb")
    except OSError as error:
        raise DownloadError(f"{path} cannot be read: {error.strerror}.", hint="Check the path.") from error
    current = f"{state.st_mtime_ns}-{state.st_size}"
    start = request.offset if request.validator in (None, current) and request.offset <= state.st_size else 0
    file.seek(start)
    return FileStream(file, start, state.st_size, current)
