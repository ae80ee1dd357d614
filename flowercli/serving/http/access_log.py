"""The log: JSON lines, one a request, without ever making a request wait for whoever reads them.

Not the standard library's ``QueueListener``: it wakes its thread for each line, counts none that it drops, and waits
for ever at its end where nobody reads the stream.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from queue import Full, Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import asyncio

# Lines are handed over in batches: waking a thread for each would cost a request more than the line does.
BATCH_SECONDS = 0.1
MAX_WAITING_BATCHES = 256
CLOSE_SECONDS = 2
# Of a path or a method that somebody made up, no more is repeated.
MAX_TEXT = 200


class AccessLog:
    """Writes lines on a thread of its own; when the reader of the stream has stopped, lines are dropped and counted."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._batch: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._queue: Queue[str | None] = Queue(MAX_WAITING_BATCHES)
        self._dropped = 0
        self._thread = Thread(target=self._write, name="flowers-log", daemon=True)
        self._thread.start()

    def add(self, loop: asyncio.AbstractEventLoop, fields: dict[str, Any]) -> None:
        """Add a line; called in the event loop."""
        self._batch.append(to_line(fields))
        if self._timer is None:
            self._timer = loop.call_later(BATCH_SECONDS, self.flush)

    def flush(self) -> None:
        """Hand over what was added."""
        self._timer = None
        if self._dropped:
            self._batch.append(to_line({"level": "warning", "message": f"{self._dropped} lines were dropped"}))
        if not self._batch:
            return
        try:
            self._queue.put_nowait("".join(self._batch))
            self._dropped = 0
        except Full:
            self._dropped += len(self._batch)
        self._batch = []

    def close(self) -> None:
        """Write what is left, unless nobody reads it."""
        if self._timer is not None:
            self._timer.cancel()
        self.flush()
        try:
            self._queue.put(None, timeout=CLOSE_SECONDS)
        except Full:
            return
        self._thread.join(CLOSE_SECONDS)

    def _write(self) -> None:
        while (text := self._queue.get()) is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                # Closed by its reader: the service goes on.
                continue


class JsonFormatter(logging.Formatter):
    """Writes the program's own log records as lines of the same form."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, its traceback included."""
        fields = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return to_line(fields).rstrip("\n")


def set_up_logging() -> None:
    """Send the log records of this program and of uvicorn to stderr as JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    # Strangers send what they like: a line for each is in the access log already.
    for name in ("uvicorn.error", "python_multipart"):
        logging.getLogger(name).setLevel(logging.ERROR)


def to_line(fields: dict[str, Any]) -> str:
    """Return a line of the log, with the time at its front."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": time, **fields}, ensure_ascii=True) + "\n"
