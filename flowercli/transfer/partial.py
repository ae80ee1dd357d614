"""The part of a file that has arrived: kept beside where the file will be, across interruptions and killed processes.

A thread of its own hashes what was written, so that the hash takes no time away from the network.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from flowercli.atomic import PARTIAL_PREFIX, write_text

READ_SIZE = 2**20
# Bytes that the hash may lag behind.
MAX_LAG = 8 * 2**20


class Partial:
    """An unfinished file. Use it as a context manager; nobody else may have it open.

    Attributes:
        size: bytes that are there.
        validator: what the source gave to tell whether its file is still the same, or ``None``.
        pieced: whether the bytes came in more than one piece.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(PARTIAL_PREFIX + target.name)
        self._state = self.path.with_name(f"{self.path.name}.json")
        self.size = 0
        self.validator: str | None = None
        self.pieced = False

    def __enter__(self) -> Self:
        # Unbuffered: what was received is in the file, also when the process is killed.
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        self._hash = BackgroundHash()
        self.validator = self._read_state()
        while chunk := os.read(self._file, READ_SIZE):
            self._hash.update(chunk)
            self.size += len(chunk)
        self.pieced = self.size > 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hash.close()
        os.close(self._file)

    def begin(self, offset: int, validator: str | None) -> None:
        """Get ready for bytes from ``offset`` on: 0, or the present size."""
        if offset == 0:
            self.restart()
            self.validator = validator
            write_text(self._state, json.dumps({"validator": validator}))
        else:
            self.pieced = True

    def restart(self) -> None:
        """Throw away what is there."""
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self._hash.close()
        self._hash = BackgroundHash()
        self.size, self.validator, self.pieced = 0, None, False

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        view = memoryview(chunk)
        while view:
            written = os.write(self._file, view)
            self.size += written
            self._hash.update(bytes(view[:written]) if written < len(chunk) else chunk)
            view = view[written:]

    def sha256(self) -> str:
        """Return the sha256 of what is there; nothing can be added after it."""
        return self._hash.hexdigest()

    def finish(self) -> None:
        """Give the file its name."""
        self.path.replace(self._target)
        self._state.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete what is there."""
        self.path.unlink(missing_ok=True)
        self._state.unlink(missing_ok=True)

    def _read_state(self) -> str | None:
        try:
            validator = json.loads(self._state.read_text(encoding="utf-8"))["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return validator if isinstance(validator, str) else None


class BackgroundHash:
    """A sha256 that is computed in a thread.

    It holds no lock that Ctrl-C could leave held: ``queue.Queue`` and semaphores do.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._chunks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._given = 0
        self._hashed = 0
        self._thread = threading.Thread(target=self._work, name="sha256", daemon=True)
        self._thread.start()

    def update(self, chunk: bytes) -> None:
        """Add bytes to what is hashed; waits where the hash lags too far behind."""
        self._chunks.put(chunk)
        self._given += len(chunk)
        while self._given - self._hashed > MAX_LAG:
            time.sleep(0.001)

    def close(self) -> None:
        """Let the thread end when it has hashed what it has."""
        self._chunks.put(None)

    def hexdigest(self) -> str:
        """Wait for all bytes to be hashed, and return the sha256 in hexadecimal; can be called again."""
        self.close()
        self._thread.join()
        return self._hash.hexdigest()

    def _work(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            self._hash.update(chunk)
            self._hashed += len(chunk)
