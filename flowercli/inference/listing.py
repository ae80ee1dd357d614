"""What lies in a folder, sorted, in memory that does not grow with it."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Wanted = Callable[[os.DirEntry[str]], bool]

# So many names are held of a folder, or twice as many. A folder of more is read again for the next ones, which costs
# less than a second for each million names in it: a thousandth of the time in which these are answered.
MOST_AT_ONCE = 25_000
# So many entries are looked at together: a loop for each kind is faster than a look at each kind for every entry.
ENTRIES = 100


class Least:
    """The least of those names that are wanted and come after one: as many as are held at once."""

    def __init__(self, wanted: Wanted, after: str = "") -> None:
        self.wanted, self.after = wanted, after
        self.names: list[str] = []
        # Of names from here on some were dropped.
        self.end: str | None = None

    def take(self, entries: Iterable[os.DirEntry[str]]) -> None:
        """Take the names that come after and are wanted, and drop others when they are too many."""
        after, end, wanted = self.after, self.end, self.wanted
        if end is None:
            self.names += [entry.name for entry in entries if entry.name > after and wanted(entry)]
        else:
            self.names += [entry.name for entry in entries if after < entry.name < end and wanted(entry)]
        if len(self.names) >= 2 * MOST_AT_ONCE:
            self.names.sort()
            self.end = self.names[MOST_AT_ONCE]
            del self.names[MOST_AT_ONCE:]


def in_order(folder: str, *kinds: Wanted) -> tuple[Iterator[str], ...]:
    """Return, for each kind of entries, the sorted names of those in a folder; hidden ones are entries too.

    The folder is read once for all kinds, at once, and again only where it is large. Names that come or go meanwhile
    may be met or not; none is met twice.

    Raises:
        OSError: it cannot be read; later on, not any more.
    """
    first = [Least(wanted) for wanted in kinds]
    _read(folder, first)
    return tuple(_and_the_others(folder, least) for least in first)


def _read(folder: str, kinds: list[Least]) -> None:
    with os.scandir(folder or os.curdir) as entries:
        while some := list(islice(entries, ENTRIES)):
            for kind in kinds:
                kind.take(some)
    for kind in kinds:
        kind.names.sort()


def _and_the_others(folder: str, least: Least) -> Iterator[str]:
    yield from least.names
    while least.end is not None:
        least = Least(least.wanted, least.names[-1])
        _read(folder, [least])
        yield from least.names
