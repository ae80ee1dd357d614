"""Several server processes on one socket: one that dies is replaced, and the end of this one is the end of all."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from flowercli.atomic import scratch_folder
from flowercli.errors import FlowersError
from flowercli.serving.parent import FORCE_SECONDS, end_with_parent

if TYPE_CHECKING:
    import socket
    from multiprocessing.connection import Connection

    from flowercli.serving.http.service import Service
    from flowercli.serving.http.settings import Settings

logger = logging.getLogger(__name__)
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
POLL_SECONDS = 0.2
# A worker that dies this soon after its start would die again.
TOO_SOON_SECONDS = 5.0
MAX_EARLY_DEATHS = 5
READY = "ready"


def supervise(settings: Settings, listener: socket.socket, workers: int, on_ready: Callable[[], None]) -> None:
    """Serve with several processes until a signal ends them.

    Args:
        settings: of each.
        listener: bound; all of them listen on it.
        workers: how many.
        on_ready: called when all of them answer.

    Raises:
        FlowersError: the workers die as soon as they start.
    """
    # Each worker keeps its numbers in files here, and each can add all of them up.
    with scratch_folder("serve") as folder:
        os.environ[FOLDER_VARIABLE] = str(folder)
        Supervisor(settings, listener, workers, on_ready).run()


class Supervisor:
    """Starts workers, replaces those that die, and ends them in order."""

    def __init__(self, settings: Settings, listener: socket.socket, workers: int, on_ready: Callable[[], None]) -> None:
        self._settings = settings
        self._listener = listener
        self._wanted = workers
        self._on_ready: Callable[[], None] | None = on_ready
        # A new interpreter each: forking a process with threads of onnxruntime's would not be safe.
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[Worker] = []
        self._woken, self._wake = self._context.Pipe(duplex=False)
        self._ending = False
        # One that is stopped, or frozen with its container, does not end by itself.
        self._kill_at = math.inf
        self._early_deaths = 0

    def run(self) -> None:
        """Serve until a signal ends it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note_signal)
        self._workers = [self._start() for _ in range(self._wanted)]
        while self._workers:
            connection.wait([self._woken, *(worker.process.sentinel for worker in self._workers)], POLL_SECONDS)
            if self._woken.poll():
                self._woken.recv_bytes()
                self._end()
            self._look()
            if self._kill_at < time.monotonic():
                for worker in self._workers:
                    worker.process.kill()
        if self._early_deaths >= MAX_EARLY_DEATHS:
            raise FlowersError("The workers die as soon as they start.", hint="flowers serve --workers 1   (says why)")

    def _start(self) -> Worker:
        return Worker(self._context, self._settings, self._listener)

    def _note_signal(self, _number: int, _frame: object) -> None:
        # The main loop may be in the midst of starting a worker.
        self._wake.send_bytes(b"")

    def _end(self) -> None:
        """End the workers, in order the first time and at once the second."""
        # While this process has the socket, clients could connect although nobody listens any more.
        self._listener.close()
        for worker in self._workers:
            worker.send(signal.SIGKILL if self._ending and sys.platform != "win32" else signal.SIGTERM)
        if not self._ending:
            self._kill_at = time.monotonic() + self._settings.drain_seconds + FORCE_SECONDS + POLL_SECONDS
        self._ending = True

    def _look(self) -> None:
        for worker in [worker for worker in self._workers if not worker.process.is_alive()]:
            self._workers.remove(worker)
            self._bury(worker)
            if not self._ending:
                self._workers.append(self._start())
        if self._on_ready and len(self._workers) == self._wanted and all(worker.is_ready() for worker in self._workers):
            self._on_ready()
            self._on_ready = None

    def _bury(self, worker: Worker) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.process.pid)
        if self._ending:
            return
        logger.error("Worker %s ended with %s; another takes its place.", worker.process.pid, worker.process.exitcode)
        if time.monotonic() - worker.since < TOO_SOON_SECONDS and not worker.is_ready():
            self._early_deaths += 1
            if self._early_deaths >= MAX_EARLY_DEATHS:
                self._end()


class Worker:
    """One server process, and the pipe through which it says that it is ready."""

    def __init__(self, context: Any, settings: Settings, listener: socket.socket) -> None:
        self.since = time.monotonic()
        self._pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=run_worker, args=(settings, listener, theirs))
        self.process.start()
        theirs.close()
        self._ready = False

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            self._ready = self._ready or (self._pipe.poll() and self._pipe.recv() == READY)
        except (EOFError, OSError):
            return self._ready
        return self._ready

    def send(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.process.is_alive():
            os.kill(self.process.pid, number)


def run_worker(settings: Settings, listener: socket.socket, pipe: Connection) -> None:
    """Be one worker."""
    from flowercli.serving.http.server import serve

    # Ctrl-C reaches every process of a terminal; the supervisor decides when the workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()

    def tell(_service: Service) -> None:
        pipe.send(READY)

    serve(settings, listener, tell)
