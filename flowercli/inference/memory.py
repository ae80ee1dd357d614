"""How much memory the decoders of this process may take together: a service bounds what strangers send at once.

A picture for which there is none now is put aside, so that its thread answers about others meanwhile. Without a limit,
as on the command line, each thread decodes what it has; a picture alone is bounded in ``decode``.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What decoding a picture may take, whatever the format: 97 megapixels of RGB, 24 of a WebP.
MOST_A_PICTURE: Final = 390_000_000
# Pictures that take less do not count: eight megapixels of RGB, and JPEGs, which are decoded at a smaller scale.
SMALL: Final = 32_000_000


class NoRoomError(Exception):
    """Decoders have taken so much memory that a picture has to wait; ``Memory.tell_when_freed`` says for how long."""


class Memory:
    """So many bytes, of which each decoder takes its part, and gives it back."""

    def __init__(self) -> None:
        self._limit = math.inf
        self._taken = 0.0
        self._lock = Lock()
        self._waiting: list[Callable[[], object]] = []

    @property
    def waiting(self) -> int:
        """How many pictures wait for others to give memory back."""
        return len(self._waiting)

    def limit(self, size: int) -> None:
        """Have decoders take so many bytes together; one that needs more by itself works alone."""
        self._limit = size

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Hold so many bytes during the block.

        Raises:
            NoRoomError: others have them.
        """
        if size < SMALL:
            yield
            return
        part = min(size, self._limit)
        with self._lock:
            if self._taken + part > self._limit:
                raise NoRoomError
            self._taken += part
        try:
            yield
        finally:
            with self._lock:
                self._taken -= part
                waiting, self._waiting = self._waiting, []
            for tell in waiting:
                tell()

    def tell_when_freed(self, tell: Callable[[], object]) -> None:
        """Call this once when memory is given back, in the thread that does, or at once where none is taken."""
        with self._lock:
            if self._taken:
                self._waiting.append(tell)
                return
        tell()


DECODERS: Final = Memory()


def limit_decoders(threads: int) -> None:
    """Have the threads of a service share the memory that one picture may take; where there are many, every four do.

    So each has a quarter of it, and decodes twelve megapixels of HEIC without waiting for another.
    """
    DECODERS.limit(MOST_A_PICTURE * max(1, threads // 4))
