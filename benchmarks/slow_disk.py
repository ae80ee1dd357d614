"""Run ``flowers`` on a disk that is slow: each write is announced, takes a moment, and one of them does not end.

python benchmarks/slow_disk.py PIPE NUMBER ARGUMENT...

PIPE is a file descriptor: it gets ``[`` when a write begins, ``]`` when it has ended, and ``!`` when the one with the
NUMBER stands still: before it is done, after it, or, where a file is written or copied, in its middle. 0 is none.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds of a write, at most; and of the one that does not end.
PAUSE, FOREVER = 0.01, 120.0
BEGIN, END, HELD = b"[", b"]", b"!"
CALLS = ("rename", "replace", "fsync", "link", "write")
SQL = ("COMMIT", "CREATE", "INSERT", "PRAGMA journal_mode")


class SlowDisk:
    """What stands in for the calls that write."""

    def __init__(self, pipe: int, number: int) -> None:
        self._tell = partial(os.write, pipe)
        self._number = number
        self._early = random.random() < 1 / 2
        self._count = 0

    def install(self) -> None:
        """Take the place of the calls."""
        for name in CALLS:
            setattr(os, name, partial(self.write, getattr(os, name)))
        shutil.copyfile = self.copyfile
        # A plain function: a bound method would not be given the path.
        Path.write_bytes = lambda path, data: self.halve(path, data)  # type: ignore[method-assign]  # noqa: PLW0108
        SlowConnection.disk = self
        sqlite3.connect = partial(sqlite3.connect, factory=SlowConnection)

    def write(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Do what the call does, slowly."""
        held = self._begin()
        self._pause(held and self._early)
        result = call(*arguments, **options)
        self._pause(held and not self._early)
        self._tell(END)
        return result

    def halve(self, path: Path, data: bytes) -> int:
        """Write a file in two halves."""
        held = self._begin()
        view = memoryview(data)
        with path.open("wb") as file:
            file.write(view[: len(view) // 2])
            file.flush()
            self._pause(held)
            file.write(view[len(view) // 2 :])
        self._tell(END)
        return len(view)

    def copyfile(self, source: Path | str, target: Path | str, **_options: object) -> Path | str:
        """Copy a file in two halves."""
        self.halve(Path(target), Path(source).read_bytes())
        return target

    def _begin(self) -> bool:
        """Announce a write, and return whether it is the one that does not end."""
        self._count += 1
        self._tell(BEGIN)
        return self._count == self._number

    def _pause(self, held: object) -> None:
        if held:
            self._tell(HELD)
            time.sleep(FOREVER)
        time.sleep(random.uniform(0, PAUSE))


class SlowConnection(sqlite3.Connection):
    """A database on the slow disk."""

    disk: ClassVar[SlowDisk]

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """Execute a statement, slowly if it writes."""
        if sql.strip().startswith(SQL):
            return self.disk.write(super().execute, sql, *arguments)
        return super().execute(sql, *arguments)


def main() -> int:
    """Run the command, and return its exit code."""
    pipe, number, *arguments = sys.argv[1:]
    del sys.path[0]
    from flowercli.cli.main import main as run

    SlowDisk(int(pipe), int(number)).install()
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
