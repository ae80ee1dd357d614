"""What a run has to tell a tracking server, on disk: written by training, read by whoever sends it.

A spool is a file of JSON Lines, one record each, that only grows, and a small file beside it that says up to
which byte the server has everything. A process that is killed loses neither; a half-written last line is
not read.

Records, by ``kind``: ``run`` (always first), ``params``, ``inputs``, ``metrics``, ``text``, ``files``, ``model``,
``end`` (always last). A run that is resumed adds its records, from ``run`` on, to those that are there.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from flowercli.atomic import write_text
from flowercli.errors import TrackingError

if sys.platform != "win32":
    import fcntl

from pathlib import Path

if TYPE_CHECKING:
    from io import BufferedRandom

RECORDS = "records.jsonl"
RECEIPT = "receipt.json"
MODEL = "model"


@dataclass
class Receipt:
    """What a server has of a spool: ``offset`` bytes of it, as the run ``run_id`` of the store ``uri``.

    ``ended`` says that it also knows how the run ended.
    """

    uri: str
    offset: int = 0
    run_id: str | None = None
    ended: bool = False


class Spool:
    """The folder that holds the records of one run, the receipt, and the servable model if there is one."""

    def __init__(self, folder: Path, file: BufferedRandom) -> None:
        self.folder = folder
        self._file = file
        self._lock = threading.Lock()

    @classmethod
    def create(cls, folder: Path, uri: str) -> Self:
        """Begin a spool whose records are meant for the store at ``uri``."""
        folder.mkdir(parents=True)
        spool = cls(folder, (folder / RECORDS).open("w+b"))
        spool._lock_file()
        spool.sign(Receipt(uri))
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

    def written_last(self) -> int:
        """Return when the last record was added, in milliseconds."""
        return int((self.folder / RECORDS).stat().st_mtime * 1000)

    def receipt(self) -> Receipt:
        """Return what the server has.

        Raises:
            TrackingError: the receipt is damaged.
        """
        try:
            return Receipt(**json.loads((self.folder / RECEIPT).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise TrackingError(f"{self.folder / RECEIPT} is damaged: {error}.") from error

    def sign(self, receipt: Receipt) -> None:
        """Write down what the server has."""
        write_text(self.folder / RECEIPT, json.dumps(asdict(receipt)) + "\n")

    def close(self) -> None:
        """Leave the spool on disk."""
        self._file.close()

    def remove(self) -> None:
        """Delete the spool, and the folder of all spools if it was the last one."""
        self.close()
        shutil.rmtree(self.folder)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()
