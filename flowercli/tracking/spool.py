"""What a run has to tell a tracking server, on disk: written by training, read by whoever sends it.

A spool is a file of JSON Lines, one record each, that only grows. A process that is killed loses none of them; a
half-written last line is not read.

Records, by ``kind``: ``run`` (always first, with the store that all are meant for), ``params``, ``inputs``,
``metrics``, ``text``, ``files``, ``model``, ``end`` (always last). A run that is resumed adds its records, from
``run`` on, to those that are there.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

from flowercli.errors import TrackingError

if sys.platform != "win32":
    import fcntl

from pathlib import Path

if TYPE_CHECKING:
    from io import BufferedRandom

RECORDS = "records.jsonl"
MODEL = "model"


class Spool:
    """The folder that holds the records of one run, and the servable model if there is one."""

    def __init__(self, folder: Path, file: BufferedRandom) -> None:
        self.folder = folder
        self._file = file
        self._lock = threading.Lock()

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Begin a spool."""
        folder.mkdir(parents=True)
        spool = cls(folder, (folder / RECORDS).open("w+b"))
        spool._lock_file()
        return spool

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a spool that an earlier run has left, without the half-written line of a killed one.

        Raises:
            TrackingError: there is none, or its run is still going on.
        """
        try:
            spool = cls(folder, (folder / RECORDS).open("r+b"))
        except OSError as error:
            message = f"{folder} is not a record of a run that waits to be sent: {error.strerror}."
            raise TrackingError(message, hint="flowers train names the folder at its end.") from error
        spool._lock_file()
        spool._drop_half_line()
        return spool

    def _lock_file(self) -> None:
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            message = f"The run that writes to {self.folder} is still going on."
            raise TrackingError(message, hint="Its end says whether anything is left to send.") from error

    def _drop_half_line(self) -> None:
        whole = 0
        self._file.seek(0)
        for line in self._file:
            whole += len(line) if line.endswith(b"\n") else 0
        self._file.truncate(whole)

    def append(self, kind: str, **fields: Any) -> None:
        """Add a record. Safe from several threads; it is with the operating system when this returns."""
        line = json.dumps({"kind": kind, **fields}, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            self._file.seek(0, 2)
            self._file.write(line)
            self._file.flush()

    def read(self, offset: int, limit: int) -> list[tuple[dict[str, Any], int]]:
        """Return up to ``limit`` records from a byte offset on, each with the offset of the one after it."""
        found = []
        with (self.folder / RECORDS).open("rb") as file:
            file.seek(offset)
            for _ in range(limit):
                line = file.readline()
                if not line.endswith(b"\n"):
                    break
                found.append((json.loads(line), file.tell()))
        return found

    @property
    def uri(self) -> str:
        """The store that its records are meant for.

        Raises:
            TrackingError: they do not say it.
        """
        try:
            return str(self.read(0, 1)[0][0]["uri"])
        except (LookupError, ValueError) as error:
            message = f"The records in {self.folder} do not say where they belong."
            raise TrackingError(message, hint="Say it: --tracking-uri URI") from error

    def written_last(self) -> int:
        """Return when the last record was added, in milliseconds."""
        return int((self.folder / RECORDS).stat().st_mtime * 1000)

    def close(self) -> None:
        """Leave the spool on disk."""
        self._file.close()

    def remove(self) -> None:
        """Delete the spool, and the folder of all spools if it was the last one."""
        self.close()
        shutil.rmtree(self.folder)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()
