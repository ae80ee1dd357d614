"""How glibc keeps the memory that a program frees: training wants it again at every step, a service wants it bounded.

``mallopt``, with its options, and ``malloc_trim`` are in glibc's malloc.h. Other systems have neither: nothing is done
there.
"""

from __future__ import annotations

import ctypes
import time
from threading import Thread
from typing import Any

TRIM_THRESHOLD = -1
TOP_PAD = -2
MMAP_THRESHOLD = -3
MMAP_MAX = -4

FOR_TRAINING = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 256 * 2**20}
# Of each of the threads that glibc gives memory of its own, as many bytes at most lie there free. A photograph's
# pixels and the model's input are below both: they come from that memory, which is faster than the system's.
FOR_SERVING = {MMAP_THRESHOLD: 2**20, TRIM_THRESHOLD: 4 * 2**20}
# Small pieces are given back this often.
TRIM_SECONDS = 2.0


def keep_freed_memory() -> None:
    """Let glibc keep what training frees instead of giving it back to the system at every step.

    Each step allocates the same hundreds of megabytes again; fetched anew and zeroed by the kernel every
    time, they cost a third of a CPU's training speed.
    """
    _set(FOR_TRAINING)


def give_freed_memory_back() -> None:
    """Let glibc give back to the system what serving frees: large pieces at once, small ones every few seconds.

    By itself it does so with large ones only until the first is freed: it then takes up to 32 MiB from the memory of
    the thread that asks, where twice as much may stay after it, in as many threads as had a large one. What 512
    connections had, a hundred megabytes, stays for as long as one object in use lies behind it.
    """
    _set(FOR_SERVING)
    if (trim := _function("malloc_trim")) is not None:
        Thread(target=_trim, args=(trim,), name="flowers-allocator", daemon=True).start()


def _trim(trim: Any) -> None:
    while True:
        time.sleep(TRIM_SECONDS)
        trim(0)


def _set(options: dict[int, int]) -> None:
    if (mallopt := _function("mallopt")) is not None:
        for option, value in options.items():
            mallopt(option, value)


def _function(name: str) -> Any:
    """Return a function of the C library, or ``None`` where it has none of this name."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return None
