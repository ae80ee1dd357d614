"""What photographs were when they were last read, so that those that did not change since are not read again.

A file in the user's data directory for each dataset. A photograph is taken for the same where its size and both its
times are, as Git does; one that had just been written when it was read is read again. Without that file, which may be
deleted at any time, all are.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from flowercli.atomic import sweep, write_text
from flowercli.data.places import own_place
from flowercli.home import NoHomeError
from flowercli.inference.cpu import available_cores
from flowercli.progress import untold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from flowercli.progress import Advance

# The coarsest times of a file system are two seconds apart: what is written within them can look like nothing was.
SETTLED_NS = 2_000_000_000


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


def sha256_of(root: Path, paths: Sequence[str], advance: Advance = untold) -> list[str | None]:
    """Return the sha256 of files below ``root``, read where need be on all cores; ``None`` where there is none.

    ``advance`` is called after each that is read.
    """
    known = _known(root)
    found = {path: _unchanged(os.path.join(root, path), known.get(path)) for path in paths}
    unknown = [path for path, sha256 in found.items() if sha256 is None]
    reads = {}
    with ThreadPoolExecutor(available_cores()) as pool:
        for path, each in zip(unknown, pool.map(_read, (root / path for path in unknown)), strict=True):
            reads[path] = each
            advance(f"Checking {root.name}", len(unknown))
    remember(root, {path: each for path, each in reads.items() if each}, known)
    hashes = found | {path: each.sha256 if each else None for path, each in reads.items()}
    return [hashes[path] for path in paths]


def remember(root: Path, reads: Mapping[str, Read], known: Mapping[str, list[Any]] | None = None) -> None:
    """Keep what was read for the next time, beside what is known, if there is a data directory that can be written to.

    Args:
        root: the dataset.
        reads: by path below it.
        known: what was kept, if somebody has looked already.
    """
    known = _known(root) if known is None else known
    now = time.time_ns()
    kept = {path: [*each.stamp, each.sha256] for path, each in reads.items() if each.stamp.is_settled(now)}
    with suppress(OSError, NoHomeError):
        place = own_place("seen", root)
        sweep(place)  # There may be nothing to write over what a killed process left.
        if any(known.get(path) != each for path, each in kept.items()):
            place.parent.mkdir(parents=True, exist_ok=True)
            write_text(place, json.dumps({**known, **kept}))


def _unchanged(path: str, row: Any) -> str | None:
    """Return the hash that is kept of a file, if it is as it was."""
    if not isinstance(row, list) or len(row) != len(Read._fields) + len(Stamp._fields) - 1:
        return None
    try:
        return str(row[-1]) if row[:-1] == list(Stamp.of(os.stat(path))) else None
    except OSError:
        return None


def _read(path: Path) -> Read | None:
    try:
        with path.open("rb") as file:
            return Read(Stamp.of(os.fstat(file.fileno())), hashlib.file_digest(file, "sha256").hexdigest())
    except OSError:
        return None


def _known(root: Path) -> dict[str, list[Any]]:
    """Return what is kept of each file: the numbers of its stamp, and its hash."""
    try:
        rows = json.loads(own_place("seen", root).read_text(encoding="utf-8"))
    except (OSError, ValueError, NoHomeError):
        return {}
    return rows if isinstance(rows, dict) else {}
