"""Give memory back to the system after large requests, which would else stay with the process in pieces."""

from __future__ import annotations

import asyncio
import ctypes
from functools import cache
from typing import Any

# Requests above this leave enough behind to look for it; the small ones use the same memory again and again.
LARGE_BYTES = 2**20
PAUSE_SECONDS = 1.0


class Trimmer:
    """Lets the allocator look for free memory, at most once a second, and on another thread than the event loop's.

    It looks a second after the last large request as well: at the end of one, its memory is not free yet.
    """

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._ended_meanwhile = False

    def freed(self, size: int) -> None:
        """Note that a request of so many bytes has ended; called in the event loop."""
        if size < LARGE_BYTES:
            return
        if self._timer is None:
            self._wait(asyncio.get_running_loop())
        else:
            self._ended_meanwhile = True

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ended_meanwhile = False
        self._timer = loop.call_later(PAUSE_SECONDS, self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._ended_meanwhile:
            self._wait(loop)
        if (trim := _malloc_trim()) is not None:
            loop.run_in_executor(None, trim, 0)


@cache
def _malloc_trim() -> Any:
    """Return glibc's function; nothing on other systems, whose allocators do it by themselves or not at all."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
