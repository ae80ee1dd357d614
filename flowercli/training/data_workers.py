"""The processes that decode photographs for a run: they never speak, and never outlive it."""

from __future__ import annotations

import atexit
import errno
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import psutil

from flowercli.inference.cpu import available_cores
from flowercli.training.interrupt import SIGNALS

# Where torch hands over batches on Linux; a container has 64 MiB of it unless more is asked for.
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (nothing of ours has a name there)
# Each worker is asked for two batches in advance, and the process that trains has one, and the one before.
AHEAD, IN_USE = 2, 2
MORE_OF_IT = "In a container: docker run --shm-size=1g …"
DEFAULT_WORKERS = 2
NOTHING_COMES_SECONDS = 20


def workers_to_start(asked: int | None) -> int:
    """Return how many processes decode: as asked, or two where two cores may be used."""
    return min(DEFAULT_WORKERS, available_cores()) if asked is None else asked


def workers_with_room(workers: int, batch_bytes: int) -> int:
    """Return for how many of the workers the shared memory has room for batches, now."""
    if not workers or not SHARED_MEMORY.is_dir():
        return workers
    return max(0, min(workers, (shared_memory_left() // batch_bytes - IN_USE) // AHEAD))


def shared_memory_left() -> int:
    """Return the bytes that are free in it."""
    found = os.statvfs(SHARED_MEMORY)
    return found.f_bavail * found.f_frsize


def busy_seconds() -> float:
    """Return the processor time that the data workers have taken so far."""
    total = 0.0
    for process in multiprocessing.active_children():
        if not process.daemon:  # Not a worker of torch's loader, but one that trains.
            continue
        with suppress(psutil.Error):
            total += sum(psutil.Process(process.pid).cpu_times()[:2])
    return total


@contextmanager
def stop_signals_held() -> Iterator[None]:
    """Hold back what stops a run until the end of the block: a process started in it never receives it.

    A data worker inherits what is held back, and could be stopped before ``start_data_worker`` runs otherwise.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where such signals go to one process alone.
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_data_worker(_worker: int) -> None:
    """Leave what stops a run to the process that trains; for ``DataLoader(worker_init_fn=...)``.

    Terminals and job schedulers send the signals to data workers too. A worker whose parent is gone ends by itself.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _forget_lost_parent


def _forget_lost_parent(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say nothing where the process that trains ended while a thread of multiprocessing handed it a batch.

    What goes wrong with a photograph does not come here: the loader raises it in the process that trains.
    """
    if not issubclass(kind, (ConnectionError, EOFError)):
        sys.__excepthook__(kind, error, trace)


def is_lost_worker(error: RuntimeError) -> bool:
    """Whether torch's loader says that one of them ended before its time."""
    return str(error).startswith("DataLoader worker")


def nothing_comes(error: Exception) -> bool:
    """Whether torch's loader says that it has waited ``NOTHING_COMES_SECONDS`` for a batch."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader timed out")


def lacks_shared_memory(error: Exception) -> bool:
    """Whether torch, a worker or the system says that there was no room to hand over a batch."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOSPC
    return "shared memory" in str(error) or ("DataLoader worker" in str(error) and "Bus error" in str(error))


def why_without(error: Exception) -> str:
    """Say why a run goes on without workers."""
    if lacks_shared_memory(error):
        return f"{SHARED_MEMORY} is full: this process decodes from now on, and no others. {MORE_OF_IT}"
    left = f"; {SHARED_MEMORY} has {shared_memory_left() // 2**20} MiB left" if SHARED_MEMORY.is_dir() else ""
    return (
        f"Nothing has come from the processes that decode for {NOTHING_COMES_SECONDS} seconds{left}: this one decodes "
        "from now on, and no others."
    )


def end_data_workers() -> None:
    """Kill those that an error left behind: multiprocessing would send them a signal that they ignore, and wait."""
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler takes a dead worker for a failure.
    for process in multiprocessing.active_children():
        process.kill()


# After multiprocessing's own, so it runs before that.
atexit.register(end_data_workers)
