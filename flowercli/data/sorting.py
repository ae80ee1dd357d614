"""Put pictures into folders by what is on them, with a list from which all of it can be undone.

Nothing is overwritten. A line of the list (:mod:`flowercli.data.undo_list`) is ``{"did": "moved", "from": PATH, "to":
PATH, "size": BYTES, "mtime_ns": NANOSECONDS}``. ``did`` is ``moved`` or ``copied``; ``from`` is absolute, ``to``
relative to the list; size and time of the file tell it from another that has its name later.
"""

from __future__ import annotations

import errno
import filecmp
import json
import os
import re
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from flowercli.atomic import scratch_folder
from flowercli.data.inside import leads_outside, not_portable
from flowercli.data.undo_list import Undone, below, from_the_end, leads_out, new_list
from flowercli.errors import UsageError
from flowercli.inference.patterns import HIDDEN, IMAGE_SUFFIXES
from flowercli.locks import alone_in
from flowercli.shown import in_shell

# Where pictures of none of the flowers go.
REFUSED = "_refused"
MOVED, COPIED = "moved", "copied"
LOCK = "sorting"
# Some file systems keep the time of a file to two seconds.
SAME_TIME_NS = 2 * 10**9


class _Names:
    """The files that have one name in a folder, or that name with a number: ``rose.jpg``, ``rose-2.jpg`` and so on."""

    def __init__(self, first: Path) -> None:
        self._first = first
        self._count = 0
        self._by_size: dict[int, list[Path]] = {}
        while os.path.lexists(path := self.free()):
            self.add(path, path.stat().st_size if path.is_file() else -1)

    def free(self) -> Path:
        """Return the path that nothing has."""
        number = f"-{self._count + 1}" if self._count else ""
        return self._first.with_name(f"{self._first.stem}{number}{self._first.suffix}")

    def add(self, path: Path, size: int) -> None:
        """Note that the free path is taken, by a file of so many bytes."""
        self._count += 1
        self._by_size.setdefault(size, []).append(path)

    def have(self, source: Path, size: int) -> bool:
        """Whether one of them holds what a file of so many bytes holds."""
        return any(filecmp.cmp(source, path, shallow=False) for path in self._by_size.get(size, ()))


class Sorter:
    """Copies or moves pictures into a folder a class below ``folder``, those of no class into ``_refused``."""

    def __init__(self, folder: Path, list_: Path, scratch: Path, lines: TextIO, *, move: bool) -> None:
        self.counts: Counter[str] = Counter()
        self.list = list_
        self._folder = folder
        self._scratch = scratch
        self._lines = lines
        self._move = move
        self._names: dict[Path, _Names] = {}

    def place(self, path: str, class_name: str | None) -> None:
        """Put a picture where it belongs, with a number where another one has its name there.

        One that lies below the folder already is left alone, and so is the copy of one that was copied before.

        Raises:
            OSError: it cannot be read, or not be written; or it is a link that was to be moved, or its folder one.
        """
        source = _resolved(Path(path))
        if self._folder in source.parents:
            return
        status = source.lstat() if self._move else source.stat()
        if stat.S_ISLNK(status.st_mode):
            raise OSError(errno.EMLINK, "It is a link, which leads nowhere from elsewhere: --copy-to copies it")
        name = class_name or REFUSED
        first = self._folder / name / source.name
        if first not in self._names:
            self._names[first] = _Names(first)
        names = self._names[first]
        if not self._move and names.have(source, status.st_size):
            return
        target = names.free()
        target.parent.mkdir(exist_ok=True)
        if leads_out(self._folder, target.parent):
            raise OSError(errno.ELOOP, f"{target.parent} is a link that leads elsewhere, where nothing can be undone")
        self._note(source, target, status)
        (self._moved if self._move else self._copied)(source, target)
        names.add(target, status.st_size)
        self.counts[name] += 1

    def _note(self, source: Path, target: Path, status: os.stat_result) -> None:
        row = {
            "did": MOVED if self._move else COPIED,
            "from": str(source),
            "to": target.relative_to(self._folder).as_posix(),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
        }
        self._lines.write(json.dumps(row) + "\n")
        self._lines.flush()

    def _copied(self, source: Path, target: Path) -> None:
        half = self._scratch / target.name
        with source.open("rb") as read, half.open("wb") as written:
            shutil.copyfileobj(read, written)
            written.flush()
            if self._move:  # On the disk before the other is gone from its own.
                os.fsync(written.fileno())
        shutil.copystat(source, half)
        half.rename(target)

    def _moved(self, source: Path, target: Path) -> None:
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copied(source, target)
            source.unlink()


@contextmanager
def sorting(
    folder: Path, class_names: Iterable[str], *, move: bool, waiting: Callable[[], None] = lambda: None
) -> Iterator[Sorter]:
    """Yield what sorts pictures into a folder, which is made.

    Where another process sorts into it, ``waiting`` is called, and it is waited for.

    Raises:
        UsageError: a class has a name that no folder can have.
    """
    for name in class_names:
        if wrong := "has a slash" if "/" in name else leads_outside(name) or not_portable(name):
            raise UsageError(f"There can be no folder for the class '{name}': it {wrong}.")
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    list_ = new_list(folder)
    with alone_in(folder, LOCK, waiting):
        try:
            with scratch_folder("sorting", folder) as scratch, list_.open("x", encoding="ascii") as lines:
                yield Sorter(folder, list_, scratch, lines, move=move)
        finally:
            if list_.is_file() and not list_.stat().st_size:
                list_.unlink()
    _remove_if_empty(folder)


def undo(file: Path, waiting: Callable[[], None] = lambda: None) -> Undone:
    """Take back what a list says was done, the last first; the list goes when nothing of it is left.

    Only files below the folder of the list are moved or deleted, those alone that are as they were put there, and
    nothing is overwritten. They go to where the list says that they came from, pictures alone, into folders that are
    there and not hidden: more is for a person to do.

    Raises:
        DataError: it is no such list.
    """
    count, left = 0, []
    folder = file.resolve().parent
    with alone_in(folder, LOCK, waiting):
        for done in listed(file):
            try:
                count += _undone(done, folder)
            except OSError as error:
                left.append((str(done.target), error.strerror or str(error)))
            with suppress(OSError):  # It holds others.
                done.target.parent.rmdir()
        if not left:
            file.unlink()
    _remove_if_empty(folder)
    return Undone(count, left)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


class Done(NamedTuple):
    """A line of a list."""

    did: str
    source: Path
    target: Path
    size: int
    mtime_ns: int

    def is_there(self) -> bool:
        """Whether the target is the file that was put there."""
        status = self.target.lstat()
        same_time = abs(status.st_mtime_ns - self.mtime_ns) <= SAME_TIME_NS
        return stat.S_ISREG(status.st_mode) and status.st_size == self.size and same_time


def listed(file: Path) -> Iterator[Done]:
    """Yield the lines of a list, the last first.

    Raises:
        DataError: it is no such list, or names a file that is not below its folder.
    """
    return from_the_end(file, _row, "pictures that were sorted")


def _row(row: dict[str, Any], folder: Path) -> Done:
    done = Done(row["did"], Path(row["from"]), below(folder, row["to"]), int(row["size"]), int(row["mtime_ns"]))
    source, target = done.source, done.target
    is_path = source.is_absolute() and ".." not in source.parts
    # In the folder of a class, with the name that it had, or that with a number.
    number = re.compile(f"{re.escape(source.stem)}-[0-9]+{re.escape(source.suffix)}")
    is_named = target.name == source.name or number.fullmatch(target.name) is not None
    if done.did not in (MOVED, COPIED) or not is_path or not is_named or target.parent.parent != folder:
        raise ValueError
    return done


def outside(folder: Path, paths: Iterable[str]) -> Iterator[str]:
    """Yield the paths that do not lie below a folder: what is sorted into it would be met again there."""
    inside = folder.resolve()
    return (path for path in paths if inside not in _resolved(Path(path)).parents)


def _resolved(path: Path) -> Path:
    """Return a path without links on its way; one at its end stays one."""
    return path.parent.resolve() / path.name


def _undone(done: Done, folder: Path) -> int:
    """Take one back; return how many files that were: none of one that was never put there.

    Raises:
        OSError: it is not there any more, or not the same; or another file is where it was; or it is put back by no
            list that may be somebody else's.
    """
    there, back = os.path.lexists(done.target), os.path.lexists(done.source)
    if not there and back:
        return 0
    if not there:
        raise FileNotFoundError("it is not there any more")
    if not done.is_there():
        raise FileExistsError("it is not the file that was put there")
    if back:
        if not filecmp.cmp(done.source, done.target, shallow=False):
            raise FileExistsError(f"{done.source} is not the same any more")
        done.target.unlink()
        return 1
    if done.did == COPIED:
        raise FileNotFoundError(f"{done.source} is gone: this is the only copy")
    _check_source(done, folder)
    shutil.move(done.target, done.source)
    return 1


def _check_source(done: Done, folder: Path) -> None:
    """Refuse to put a file where programs would run or read it, or where no picture came from.

    Raises:
        OSError: its name is not a picture's, the folder that it came from is hidden, or not there.
    """
    source = done.source
    by_hand = f"mv -n {in_shell(done.target)} {in_shell(source)}"
    # What is hidden on the way to the list itself is where its owner works.
    if any(each.name.startswith(HIDDEN) and each not in folder.parents for each in (source, *source.parents)):
        raise PermissionError(f"it came from a hidden place, it is said: if that is so, {by_hand}")
    if source.suffix.lower() not in IMAGE_SUFFIXES:
        raise PermissionError(f"its name is not a picture's: if it came from there, {by_hand}")
    if not source.parent.is_dir():
        make = f"mkdir -p {in_shell(source.parent)}"
        raise FileNotFoundError(f"the folder that it came from is gone: first {make}")
