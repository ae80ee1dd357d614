"""The processes that decode photographs for a run: they never speak, and never outlive it."""

from __future__ import annotations

import atexit
import multiprocessing
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowercli.training.interrupt import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


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


def _end_data_workers() -> None:
    """Kill those that an error left behind: multiprocessing would send them a signal that they ignore, and wait."""
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler takes a dead worker for a failure.
    for process in multiprocessing.active_children():
        process.kill()


# After multiprocessing's own, so it runs before that.
atexit.register(_end_data_workers)
