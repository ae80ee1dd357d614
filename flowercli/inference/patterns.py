"""Globs (``*``, ``?``, ``[…]``, ``**``), and folders with all that is below them, as streams of paths.

Folder by folder: what a folder itself has, sorted, then what its subfolders have. Nothing is collected, so the first
path comes at once, and none comes twice, in however many ways a glob matches it.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import time
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flowercli.inference.listing import ENTRIES, in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flowercli.inference.listing import Wanted

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".avif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".jp2",
        ".j2k",
        ".heic",
        ".heif",
    }
)
ANY_DEPTH = "**"
HIDDEN = "."
# While folders are counted: as long as a hundred names take, so that it is half a core at most.
REST_SECONDS = 0.0005


class Found(NamedTuple):
    """A path, and whether it is a folder that is walked rather than what is to be answered."""

    path: str
    is_folder: bool


def walk(folder: str) -> Iterator[str]:
    """Yield the pictures below a folder: its own first, then those of each subfolder, all sorted.

    A folder that cannot be listed is passed on, so that it is reported like a picture that cannot be read.
    """
    return (found.path for found in _Pattern([]).below(folder) if not found.is_folder)


def count_below(folder: str) -> int:
    """Return how many pictures :func:`walk` yields, in no order, with a rest after so many entries."""
    count = 0
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        with suppress(OSError), os.scandir(folder) as entries:
            while some := list(islice(entries, ENTRIES)):
                count += sum(map(is_picture, some))
                waiting += [os.path.join(folder, entry.name) for entry in some if is_subfolder(entry)]
                time.sleep(REST_SECONDS)
    return count


def expand_glob(pattern: str) -> Iterator[str]:
    """Yield what a glob matches, of a folder the pictures below it; the glob itself if it matches nothing.

    A ``**`` leads through all folders below, hidden ones and links to others excepted: Python's own follows links, in a
    loop of them for ever, and fails in folders deeper than calls may be.
    """
    drive, rest = os.path.splitdrive(pattern)
    parts = rest.replace(os.altsep or os.sep, os.sep).split(os.sep)  # noqa: PTH206  (a path would lose what a pattern has)
    start = drive + os.sep * rest.startswith(os.sep)
    is_met = False
    for found in _Pattern([part for part in parts if part], folders_only=not parts[-1]).below(start):
        is_met = True
        if not found.is_folder:
            yield found.path
    if not is_met:
        yield pattern


def is_picture(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry of a folder is a picture by its name."""
    name = entry.name
    return (
        os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
        and not name.startswith(HIDDEN)
        and not entry.is_dir(follow_symlinks=False)
    )


def is_subfolder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry of a folder is a folder that is walked: no hidden one, no link."""
    return entry.is_dir(follow_symlinks=False) and not entry.name.startswith(HIDDEN)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder or a link to one; a link that may not be followed, or never ends, is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


class _Pattern:
    """The parts of a glob, and by their numbers which of them may be next in a folder.

    The number behind the last part says that all of it has matched: the folder is walked.
    """

    def __init__(self, parts: Sequence[str], *, folders_only: bool = False) -> None:
        self.parts, self.end, self.folders_only = parts, len(parts), folders_only
        self.matches = [_matching(part) for part in parts]

    def below(self, start: str) -> Iterator[Found]:
        """Yield what the pattern leads to from a folder."""
        inside = [self._inside(start, frozenset({0}))]
        while inside:  # Not recursive: folders may lie deeper than calls.
            found = next(inside[-1], None)
            if found is None:
                inside.pop()
                continue
            path, next_parts = found
            if self.end in next_parts or not next_parts:
                yield Found(path, is_folder=bool(next_parts))
            if next_parts:
                inside.append(self._inside(path, next_parts))

    def _inside(self, folder: str, numbers: frozenset[int]) -> Iterator[tuple[str, frozenset[int]]]:
        """Yield what is to be answered of a folder, with no number, then its subfolders with what may be next there."""
        step = self._step(numbers)
        try:
            if step.only_names:
                yield from self._named(folder, step)
                return
            wanted, leading = in_order(folder, *step.kinds)
            for name in wanted:
                yield os.path.join(folder, name), frozenset()
            for name in leading:
                path = os.path.join(folder, name)
                yield path, step.next_in(name, is_link=Path(path).is_symlink())
        except OSError:
            if step.is_walked:
                yield folder, frozenset()

    def _named(self, folder: str, step: _Step) -> Iterator[tuple[str, frozenset[int]]]:
        """Yield what names without a wildcard lead to: nothing needs to be listed for that."""
        for number, _ in step.named:
            path = os.path.join(folder, self.parts[number])
            if os.path.isdir(path):
                yield path, frozenset({number + 1})
            elif number + 1 == self.end and not self.folders_only and os.path.lexists(path):
                yield path, frozenset()

    def _step(self, numbers: frozenset[int]) -> _Step:
        reached = set(numbers)
        for number in sorted(numbers):
            at = number
            while at < self.end and self.parts[at] == ANY_DEPTH:
                at += 1
                reached.add(at)
        deep = frozenset(number for number in reached if number == self.end or self.parts[number] == ANY_DEPTH)
        return _Step(self, deep, tuple((number, self.matches[number]) for number in sorted(reached - deep)))


class _Step(NamedTuple):
    """What a folder's entries are looked at for.

    ``deep`` are the numbers that stay the same in each subfolder, ``named`` those of one part with what matches it.
    """

    pattern: _Pattern
    deep: frozenset[int]
    named: tuple[tuple[int, Callable[[str], bool]], ...]

    @property
    def is_walked(self) -> bool:
        return self.pattern.end in self.deep

    @property
    def only_names(self) -> bool:
        return not self.deep and not any(glob.has_magic(self.pattern.parts[number]) for number, _ in self.named)

    @property
    def kinds(self) -> tuple[Wanted, Wanted]:
        """What tells whether an entry is to be answered itself, and whether it leads on."""
        if self.is_walked and not self.named:  # The same, a second sooner of a folder of a million.
            return is_picture, is_subfolder
        return self.is_wanted, self.leads_on

    def is_wanted(self, entry: os.DirEntry[str]) -> bool:
        """Tell whether an entry is to be answered itself."""
        if self.is_walked and is_picture(entry):
            return True
        if self.pattern.folders_only:
            return False
        last = self.pattern.end - 1
        return any(number == last and matches(entry.name) for number, matches in self.named) and not _is_folder(entry)

    def leads_on(self, entry: os.DirEntry[str]) -> bool:
        """Tell whether an entry is a folder in which more may match."""
        if self.deep and is_subfolder(entry):
            return True
        return any(matches(entry.name) for _, matches in self.named) and _is_folder(entry)

    def next_in(self, name: str, *, is_link: bool) -> frozenset[int]:
        """Return what may be next in a subfolder."""
        through = frozenset() if is_link or name.startswith(HIDDEN) else self.deep
        return through.union(number + 1 for number, matches in self.named if matches(name))


@cache
def _matching(part: str) -> Callable[[str], bool]:
    """Return what tells whether a part of a glob matches a name; hidden names only if it begins with a dot itself."""
    if not glob.has_magic(part):
        return part.__eq__
    found = re.compile(fnmatch.translate(os.path.normcase(part))).match
    if part.startswith(HIDDEN):
        return lambda name: found(os.path.normcase(name)) is not None
    return lambda name: not name.startswith(HIDDEN) and found(os.path.normcase(name)) is not None
