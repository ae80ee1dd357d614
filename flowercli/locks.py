"""One process at a time for a file or folder: the others wait, or are told."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def alone(target: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a file or folder, whose parent is made; ``waiting`` is called if another process has it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(target)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_held(target: Path) -> bool:
    """Whether another process is at it now."""
    if not target.parent.is_dir():
        return False
    lock = _lock(target)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def _lock(target: Path) -> FileLock:
    return FileLock(target.with_name(f".{target.name}.lock"))
