"""Where a transfer writes: space is looked for before, and what a disk says becomes a message."""

from __future__ import annotations

import errno
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowercli.errors import DownloadError
from flowercli.transfer import faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def disk_faults() -> Iterator[None]:
    """Turn the errors of a disk that is full or read-only into messages.

    Raises:
        DownloadError: in their place.
    """
    try:
        yield
    except OSError as error:
        if not faults.is_disk_fault(error):
            raise
        raise faults.from_disk(error) from error


def check_space(folder: Path, needed: float) -> None:
    """Compare the bytes that are needed with those that are free.

    Raises:
        DownloadError: there are too few.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        message = f"The disk has {free / 1e6:.1f} MB free, and {needed / 1e6:.1f} MB are needed: {folder}"
        raise DownloadError(message, hint=faults.DISK[errno.ENOSPC][1])
