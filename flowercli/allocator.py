"""How glibc keeps the memory that a program frees: training wants it again at every step, a service wants it bounded.

The options are those of ``mallopt``, in glibc's malloc.h. Other systems have no such function: nothing is done there.
"""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD = -1
TOP_PAD = -2
MMAP_THRESHOLD = -3
MMAP_MAX = -4

FOR_TRAINING = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 256 * 2**20}
# Of each of the threads that glibc gives memory of its own, as many bytes at most lie there free. A photograph's
# pixels and the model's input are below both: they come from that memory, which is faster than the system's.
FOR_SERVING = {MMAP_THRESHOLD: 2**20, TRIM_THRESHOLD: 4 * 2**20}


def keep_freed_memory() -> None:
    """Let glibc keep what training frees instead of giving it back to the system at every step.

    Each step allocates the same hundreds of megabytes again; fetched anew and zeroed by the kernel every
    time, they cost a third of a CPU's training speed.
    """
    _set(FOR_TRAINING)


def give_large_pieces_back() -> None:
    """Let glibc give large pieces, such as the body of a request, back to the system when they are freed.

    By itself it does so only until the first is freed. It then takes up to 32 MiB from the memory of the thread
    that asks, where twice as much may stay after it, in as many threads as had a large one.
    """
    _set(FOR_SERVING)


def _set(options: dict[int, int]) -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for option, value in options.items():
        mallopt(option, value)
