"""One process at a time for a file or folder: the others wait, or are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock


@contextmanager
def alone(target: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a file or folder, whose parent is made; ``waiting`` is called if another process has it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(target)
    if not _try(lock):
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def alone_in(folder: Path, purpose: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a folder's lock for a purpose; unlike that of :func:`alone` its file goes, as the folder is the user's own.

    Who waits for a file that goes notices that, and takes the next one.
    """
    target = folder / purpose
    with alone(target, waiting):
        try:
            yield
        finally:
            with suppress(OSError):  # Windows deletes no file that is open: there it goes with the lock.
                Path(_lock(target).lock_file).unlink()


def is_held(target: Path) -> bool:
    """Whether another process is at it now."""
    if not target.parent.is_dir():
        return False
    lock = _lock(target)
    if not _try(lock):
        return True
    lock.release()
    return False


def _try(lock: FileLock) -> bool:
    """Take a lock if nobody has it."""
    from filelock import Timeout

    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


def _lock(target: Path) -> FileLock:
    from filelock import FileLock  # Answering reads the index and never locks it.

    return FileLock(target.with_name(f".{target.name}.lock"))
