"""Where a transfer writes: one process at a time, with space left, and what a disk says turned into messages."""

from __future__ import annotations

import errno
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from flowercli.errors import DownloadError
from flowercli.transfer import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def alone(target: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a file or folder, whose parent is made; ``waiting`` is called if another process has it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


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
