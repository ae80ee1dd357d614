"""Write what was answered to a log, on a thread of its own, so that answering never waits for a disk."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple, Self

from flowercli.errors import LogError
from flowercli.monitoring import MAX_ROWS
from flowercli.monitoring.features import Observation, describe
from flowercli.monitoring.log_file import append, open_to_write, to_rows
from flowercli.monitoring.log_rows import LoggedModel, Row
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from flowercli.bundle import Bundle

# Answers that wait for the disk; more are dropped.
WAITING = 8192
BATCH, SECONDS = 256, 0.5


class _Waiting(NamedTuple):
    time: float
    request: str | None
    observed: Observation


class RequestLog:
    """A log that answers are put into. Safe to call from several threads; several processes may share the file.

    What cannot be written is counted and said, once when it begins and once at the end, and never raised.

    Args:
        path: the SQLite file, made if need be.
        bundle: the model that answers.
        graph: the file name of its graph that does.
        max_rows: the oldest answers above this number are dropped.
        say: called with what went wrong, from any thread.

    Raises:
        LogError: the file is something else, or its folder does not exist.
    """

    def __init__(
        self, path: Path, bundle: Bundle, graph: str, *, max_rows: int = MAX_ROWS, say: Callable[[str], None]
    ) -> None:
        _check_place(path)
        self.written = self.lost = self.dropped = 0
        self._path, self._max_rows, self._say = path, max_rows, say
        self._model = LoggedModel.of(bundle, graph)
        self._queue: Queue[_Waiting | None] = Queue(WAITING)
        self._connection: sqlite3.Connection | None = None
        self._failed = False
        try:
            self._connection = open_to_write(path)
        except sqlite3.Error as error:
            self._tell(error)
        self._thread = Thread(target=self._work, name="flowers-log", daemon=True)
        self._thread.start()

    def observe(self, observation: Observation, request: str | None = None) -> None:
        """Take an answer, without ever waiting."""
        try:
            self._queue.put_nowait(_Waiting(time.time(), request, observation))
        except Full:
            self.dropped += 1

    def close(self) -> None:
        """Write down what waits, and say how many answers are missing in the log."""
        self._queue.put(None)
        self._thread.join()
        if self._connection is not None:
            self._connection.close()
        if missing := self.lost + self.dropped:
            self._say(f"{missing} of {self.written + missing} answers are not in the log {self._path}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        going = True
        while going:
            batch, going = self._next_batch()
            if batch:
                self._write(batch)

    def _next_batch(self) -> tuple[list[_Waiting], bool]:
        """Wait for an answer, then for those of the next half second; and say whether more will come."""
        first = self._queue.get()
        if first is None:
            return [], False
        batch, until = [first], time.monotonic() + SECONDS
        while len(batch) < BATCH:
            try:
                item = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                return batch, True
            if item is None:
                return batch, False
            batch.append(item)
        return batch, True

    def _write(self, batch: list[_Waiting]) -> None:
        try:
            append(self._open(), self._model, self._rows(batch), self._max_rows)
        except Exception as error:  # noqa: BLE001  (whatever it is, the next batch may go well, and answering goes on)
            self.lost += len(batch)
            self._tell(error)
        else:
            self.written += len(batch)
            self._failed = False

    def _rows(self, batch: list[_Waiting]) -> list[Row]:
        observed = [item.observed for item in batch]
        rejected = [one.answer.rejected for one in observed]
        times, requests = [item.time for item in batch], [item.request for item in batch]
        return to_rows(times, requests, rejected, describe(observed))

    def _open(self) -> sqlite3.Connection:
        """Return the connection: a new one where there was none, or somebody has moved or deleted the file."""
        if self._connection is not None and not self._path.exists():
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._connection = open_to_write(self._path)
        return self._connection

    def _tell(self, error: Exception) -> None:
        if not self._failed:
            self._say(f"The log {self._path} cannot be written: {error}. Answers go on without it.")
        self._failed = True


def check_path(path: Path) -> None:
    """Refuse early what can never become a log; what merely cannot be written now may be later.

    Raises:
        LogError: the file is something else, or its folder does not exist.
    """
    _check_place(path)
    with contextlib.suppress(sqlite3.Error):
        open_to_write(path).close()


def _check_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise LogError(f"{path.parent} is no folder.", hint=f"mkdir -p {in_shell(path.parent)}")
    if path.is_dir():
        raise LogError(
            f"{path} is a folder, not a log.", hint=f"Name a file in it: --log {in_shell(path / 'answers.db')}"
        )
