"""What photographs were when they were last read, so that those that did not change since are not read again.

A table of SQLite in the user's data directory for each dataset. A photograph is taken for the same where its size and
both its times are, as Git does; one that had just been written when it was read is read again. Without that file, which
may be deleted at any time, all are.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from flowercli.data.places import own_place
from flowercli.home import NoHomeError
from flowercli.inference.cpu import available_cores
from flowercli.progress import Advance, untold

# The coarsest times of a file system are two seconds apart: what is written within them can look like nothing was.
SETTLED_NS = 2_000_000_000
# Photographs that are looked for, and then kept, at once.
TOGETHER = 10_000
TABLE = "CREATE TABLE IF NOT EXISTS seen (path BLOB PRIMARY KEY, size, modified, changed, sha256 BLOB) WITHOUT ROWID"


class Stamp(NamedTuple):
    """What changes with a file's content: size in bytes, and the times of its content and of its entry in ns."""

    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Return that of a file."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def is_settled(self, now: int) -> bool:
        """Whether a file that is written from now on has other times."""
        return max(self.modified, self.changed) < now - SETTLED_NS


class Read(NamedTuple):
    """What one read of a file told: its stamp before, and the hash of its content."""

    stamp: Stamp
    sha256: str


def seen_file(root: Path) -> Path:
    """Return where what is known of a dataset's files is kept.

    Raises:
        NoHomeError: there is no data directory.
    """
    return own_place("seen", root, ".sqlite")


def sha256_of(root: Path, paths: Sequence[str], advance: Advance = untold) -> Iterator[str | None]:
    """Yield the sha256 of files below ``root``, read where need be on all cores; ``None`` where there is none.

    ``advance`` is called as they are looked at.
    """
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(paths), TOGETHER):
            some = paths[start : start + TOGETHER]
            found = _unchanged(root, some)
            advance(f"Checking {root.name}", len(paths), len(found))
            unknown = [path for path in some if path not in found]
            reads = {}
            for path, read in zip(unknown, pool.map(_read, (root / path for path in unknown)), strict=True):
                if read is not None:
                    reads[path], found[path] = read, read.sha256
                advance(f"Checking {root.name}", len(paths))
            remember(root, reads.items())
            yield from map(found.get, some)


def remember(root: Path, reads: Iterable[tuple[str, Read]]) -> None:
    """Keep what was read, by path below ``root``, if there is a data directory that can be written to."""
    now = time.time_ns()
    rows = ((_key(path), *read.stamp, bytes.fromhex(read.sha256)) for path, read in reads if read.stamp.is_settled(now))
    if (first := next(rows, None)) is None:
        return
    with suppress(OSError, NoHomeError):
        place = seen_file(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(place)) as table, table:
                table.execute(TABLE)
                table.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", chain([first], rows))
        except sqlite3.OperationalError:
            pass  # It may not be written, or another process does.
        except sqlite3.DatabaseError:
            place.unlink()  # It is damaged, or something else.


def _unchanged(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return the hashes that are kept of files, of those that are as they were."""
    found: dict[str, str] = {}
    with suppress(OSError, NoHomeError, sqlite3.Error):
        if not (place := seen_file(root)).exists():
            return found
        with closing(sqlite3.connect(place)) as table:
            for path in paths:
                row = table.execute("SELECT size, modified, changed, sha256 FROM seen WHERE path = ?", (_key(path),))
                if (kept := row.fetchone()) and kept[:-1] == _stamp(os.path.join(root, path)):
                    found[path] = kept[-1].hex()
    return found


def _stamp(path: str) -> Stamp | None:
    try:
        return Stamp.of(os.stat(path))
    except OSError:
        return None


def _key(path: str) -> bytes:
    return path.encode("utf-8", "surrogatepass")  # As it may be no UTF-8, it is no text to SQLite.


def _read(path: Path) -> Read | None:
    try:
        with path.open("rb") as file:
            return Read(Stamp.of(os.fstat(file.fileno())), hashlib.file_digest(file, "sha256").hexdigest())
    except OSError:
        return None
