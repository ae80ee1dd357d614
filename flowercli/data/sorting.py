"""Put pictures into folders by what is on them, with a list from which all of it can be undone.

Nothing is overwritten. The list has a JSON object a line: ``{"did": "moved", "from": PATH, "to": PATH}``, where ``did``
is ``moved`` or ``copied`` and the paths are absolute. A line is written before its file, so that a list is never short
of one.
"""

from __future__ import annotations

import errno
import filecmp
import json
import os
import shutil
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from flowercli.atomic import scratch_folder
from flowercli.data.inside import leads_outside, not_portable
from flowercli.errors import DataError, UsageError
from flowercli.plain_file import read_plain_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Where pictures of none of the flowers go.
REFUSED = "_refused"
# A list of five million pictures.
MOST_BYTES = 2**30
MOVED, COPIED = "moved", "copied"


class Sorter:
    """Copies or moves pictures into a folder a class below ``folder``, those of no class into ``_refused``."""

    def __init__(self, folder: Path, list_: Path, scratch: Path, lines: TextIO, *, move: bool) -> None:
        self.counts: Counter[str] = Counter()
        self.list = list_
        self._folder = folder
        self._scratch = scratch
        self._lines = lines
        self._move = move

    def place(self, path: str, class_name: str | None) -> None:
        """Put a picture where it belongs, with a number where another one has its name there.

        One that lies below the folder already is left alone, and so is the copy of one that was copied before.

        Raises:
            OSError: it cannot be read, or not be written; or it is a link that was to be moved.
        """
        source = Path(path).absolute()
        if self._folder in source.parents:
            return
        if self._move and source.is_symlink():
            raise OSError(errno.EMLINK, "It is a link, which leads nowhere from elsewhere: --copy-to copies it")
        name = class_name or REFUSED
        target = _free(self._folder / name, source, may_be_there=not self._move)
        if target is not None:
            target.parent.mkdir(exist_ok=True)
            self._note(source, target)
            (self._moved if self._move else self._copied)(source, target)
            self.counts[name] += 1

    def _note(self, source: Path, target: Path) -> None:
        did = MOVED if self._move else COPIED
        self._lines.write(json.dumps({"did": did, "from": str(source), "to": str(target)}) + "\n")
        self._lines.flush()

    def _copied(self, source: Path, target: Path) -> Path:
        half = self._scratch / target.name
        shutil.copy2(source, half)
        return half.rename(target)

    def _moved(self, source: Path, target: Path) -> None:
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with self._copied(source, target).open("r+b") as file:  # On the disk before the other is gone from its own.
                os.fsync(file.fileno())
            source.unlink()


@contextmanager
def sorting(folder: Path, class_names: Iterable[str], *, move: bool) -> Iterator[Sorter]:
    """Yield what sorts pictures into a folder, which is made.

    Raises:
        UsageError: a class has a name that no folder can have.
    """
    for name in class_names:
        if wrong := "has a slash" if "/" in name else leads_outside(name) or not_portable(name):
            raise UsageError(f"There can be no folder for the class '{name}': it {wrong}.")
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / f"undo-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl"
    try:
        with scratch_folder("sorting", folder) as scratch, listed.open("x", encoding="ascii") as lines:
            yield Sorter(folder, listed, scratch, lines, move=move)
    finally:
        if listed.is_file() and not listed.stat().st_size:
            listed.unlink()


class Undone(NamedTuple):
    """How many files are where they were, and those that could not be brought back, with the reason."""

    files: int
    left: list[tuple[str, str]]


def undo(file: Path) -> Undone:
    """Take back what a list says was done, the last first; the list goes when nothing of it is left.

    Only files below the folder of the list are moved or deleted, and nothing is overwritten.

    Raises:
        DataError: it is no such list.
    """
    count, left = 0, []
    for did, source, target in reversed(_read(file)):
        try:
            count += (_move_back if did == MOVED else _delete_copy)(source, target)
        except OSError as error:
            left.append((str(target), error.strerror or str(error)))
        with suppress(OSError):  # It holds others.
            target.parent.rmdir()
    if not left:
        file.unlink()
        with suppress(OSError):
            file.absolute().parent.rmdir()
    return Undone(count, left)


def _read(file: Path) -> list[tuple[str, Path, Path]]:
    folder = file.absolute().parent
    rows = []
    # A line without an end was being written when all ended: its file was not touched.
    try:
        whole = read_plain_file(file, MOST_BYTES).rpartition("\n")[0]
    except ValueError as error:
        raise DataError(f"{file} is no list of pictures that were sorted: {error}.") from error
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            row = json.loads(line)
            did, source, target = row["did"], Path(row["from"]), Path(row["to"])
            inside = folder in target.parents and ".." not in target.parts
        except (ValueError, TypeError, KeyError, RecursionError):
            did, inside = None, False
        if did not in (MOVED, COPIED) or not inside or not source.is_absolute():
            hint = "Such a list lies in the folder that --copy-to or --move-to named: undo-….jsonl"
            raise DataError(f"{file}, line {number}: it is no list of pictures that were sorted.", hint=hint)
        rows.append((did, source, target))
    return rows


def _free(folder: Path, source: Path, *, may_be_there: bool) -> Path | None:
    """Return a path in the folder that nothing has; ``None`` if the same file is there and may be."""
    number, target = 1, folder / source.name
    while os.path.lexists(target):
        if may_be_there and target.is_file() and filecmp.cmp(source, target, shallow=False):
            return None
        number += 1
        target = folder / f"{source.stem}-{number}{source.suffix}"
    return target


def _move_back(source: Path, target: Path) -> int:
    """Return how many files that brought back: none where it was never moved."""
    if not os.path.lexists(target):
        return 0
    if os.path.lexists(source):
        raise FileExistsError(f"{source} is there again")
    source.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(target, source)
    return 1


def _delete_copy(source: Path, target: Path) -> int:
    if not os.path.lexists(target):
        return 0
    if not source.is_file() or not filecmp.cmp(source, target, shallow=False):
        raise FileExistsError(f"{source} is gone, or not the same any more")
    target.unlink()
    return 1
