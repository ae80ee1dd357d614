"""The other processes of a run: they compute, say and write nothing, and on one machine never outlive the first."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from torch import distributed

from flowercli.atomic import scratch_folder
from flowercli.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, FlowersError
from flowercli.training.data_workers import end_data_workers, stop_signals_held
from flowercli.training.interrupt import SIGNALS, StopRequest, stop_request
from flowercli.training.launch import Launch
from flowercli.training.listeners import together
from flowercli.training.loop import fit
from flowercli.training.process_group import ALONE, LostProcess, ProcessGroup, loopback
from flowercli.training.setup import Setup

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from flowercli.training.run_folder import RunFolder

POLL_SECONDS = 0.05
# To end by themselves, once the first one has.
END_SECONDS = 5.0


@contextmanager
def members(processes: int) -> Iterator[ProcessGroup]:
    """Start the other processes of a run on this machine, and yield the group of all once they are there.

    Raises:
        LostProcess: one of them did not start, or was killed in the block.
    """
    if processes == 1:
        yield ALONE
        return
    os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback())  # Nobody outside is to reach them.
    launches = [Launch(rank, processes, rank, processes) for rank in range(processes)]
    context = multiprocessing.get_context("spawn")
    with scratch_folder("processes") as folder:
        store = str(folder / "store")
        others = [context.Process(target=_start, args=(launch, store)) for launch in launches[1:]]
        with stop_signals_held():  # Until they know what to do with them.
            for process in others:
                process.start()
        try:
            group = _connected(launches[0], store, others)
            yield group
            group.leave()
        except LostProcess as error:
            raise LostProcess(_why_lost(others) or error.message, hint=error.hint) from error
        finally:
            _end(others)


def join_launched(launch: Launch) -> int:
    """Be one of the processes that torchrun started, other than the first, and return the exit code."""
    try:
        group = ProcessGroup.of(launch)
    except FlowersError as error:
        return error.exit_code
    return join(group)


def join(group: ProcessGroup) -> int:
    """Compute this process's share of a run, for as long as the first one does, and return the exit code.

    What goes wrong the first process tells: it is the same on all.
    """
    try:
        with stop_request() as stop:
            if hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            _assist(group, stop)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except FlowersError as error:
        return error.exit_code
    return EXIT_OK


def _assist(group: ProcessGroup, stop: StopRequest) -> None:
    """Compute a share of each step and validation of the run that the first process leads; the rest is done by that."""
    run: RunFolder | None = group.from_first(None)
    if run is not None:
        setup = group.together(lambda: Setup.of_run(run, together(), group))
        try:
            fit(setup.learner, setup.train, setup.sampler, setup.val, run, stop, together())
        finally:
            end_data_workers()  # Left alone, torch waits five seconds for them, and multiprocessing without a limit.


def _connected(launch: Launch, store: str, others: Sequence[SpawnProcess]) -> ProcessGroup:
    """Return the group, seen from a process of it, once all are there; whoever waits for what is gone waits long."""
    group = ProcessGroup(**asdict(launch))
    file = distributed.FileStore(store, launch.size)  # type: ignore[attr-defined]  # Documented, and not in its list.
    file.set(f"here/{launch.rank}", "")
    everybody = [f"here/{rank}" for rank in range(launch.size)]
    while not file.check(everybody):
        if any(process.exitcode is not None for process in others):
            raise LostProcess("A process of this run did not start.")
        time.sleep(POLL_SECONDS)
    group.connect(file)
    return group


def _start(launch: Launch, store: str) -> None:
    """Be one of the other processes."""
    threading.Thread(target=_end_with_first, daemon=True).start()
    sys.exit(join(_connected(launch, store, ())))


def _end_with_first() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(EXIT_FAILED)  # It may wait for the others in a library, and leaves nothing behind.


def _why_lost(others: Sequence[SpawnProcess]) -> str | None:
    """Name a process that was killed; ``None`` where none was."""
    for rank, process in enumerate(others, start=1):
        process.join(POLL_SECONDS)
        if process.exitcode is not None and process.exitcode < 0:
            name = signal.Signals(-process.exitcode).name
            return f"Process {rank} of this run, from 0 on, was killed by {name}, and the others ended."
    return None


def _end(others: Sequence[SpawnProcess]) -> None:
    until = time.monotonic() + END_SECONDS
    for process in others:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
