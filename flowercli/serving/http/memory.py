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
    """Lets the allocator look for free memory, at most once a second, and on another thread than the event loop's."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def freed(self, size: int) -> None:
        """Note that a request of so many bytes has ended; called in the event loop."""
        if size >= LARGE_BYTES and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PAUSE_SECONDS, self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if (trim := _malloc_trim()) is not None:
            loop.run_in_executor(None, trim, 0)


@cache
def _malloc_trim() -> Any:
    """Return glibc's function; nothing on other systems, whose allocators do it by themselves or not at all."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
