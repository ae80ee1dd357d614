"""Pictures that lie elsewhere, fetched ahead of those that decode them: by many threads, in order, within a budget."""

from __future__ import annotations

import itertools
from functools import partial
from threading import Condition
from typing import TYPE_CHECKING, TypeAlias

from flowercli.errors import ImageError
from flowercli.inference.sources import is_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Fetch: TypeAlias = Callable[[str], bytes]
    # What fetches a picture by its address; nothing for a path.
    Fetcher: TypeAlias = Callable[[str], Fetch | None]

# A server 80 ms away gives 400 pictures a second to so many.
THREADS = 32
BUDGET = 256 * 2**20
# What a picture is taken to have until some have come.
FIRST_GUESS = 2 * 2**20


def by_web(path: str) -> Fetch | None:
    """Return what fetches an ``http`` or ``https`` address; ``None`` for anything else."""
    if not is_url(path):
        return None
    from flowercli.inference.picture_url import fetch  # Most runs need no network, and start faster without it.

    return fetch


class Room:
    """Lets a fetch begin when those before it have, and the bytes that wait leave room for one of the usual size.

    A picture may turn out larger than those before it: the budget is exceeded by what is on its way then, never by what
    begins later. One is always let in where nothing else is held, however large.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._turn = Condition()
        self._begun = self._under_way = self._held = 0
        self._fetched = self._bytes = 0
        self._closed = False

    def enter(self, number: int) -> bool:
        """Wait until fetch ``number``, counted from 0, may begin; ``False`` once nobody wants it any more."""
        with self._turn:
            self._turn.wait_for(lambda: self._closed or (number == self._begun and self._has_room()))
            self._begun += 1
            self._under_way += 1
            self._turn.notify_all()
            return not self._closed

    def arrived(self, size: int) -> None:
        """Count the bytes of a fetch that has ended."""
        with self._turn:
            self._under_way -= 1
            self._fetched += 1
            self._bytes += size
            self._held += size
            self._turn.notify_all()

    def leave(self, size: int) -> None:
        """Forget bytes that nobody holds any more."""
        with self._turn:
            self._held -= size
            self._turn.notify_all()

    def close(self) -> None:
        """Let go whoever waits: nobody wants the rest."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()

    def _has_room(self) -> bool:
        usual = self._bytes / self._fetched if self._fetched else FIRST_GUESS
        waiting = self._under_way or self._held
        return not waiting or self._held + (self._under_way + 1) * usual <= self._budget


class Fetched:
    """A picture that came, or why it did not, with its address."""

    def __init__(self, path: str, content: bytes | ImageError, room: Room) -> None:
        self.path, self._content, self._room = path, content, room

    def __enter__(self) -> bytes:
        if isinstance(self._content, ImageError):
            raise self._content
        return self._content

    def __exit__(self, *_: object) -> None:
        assert isinstance(self._content, bytes)
        size, self._content = len(self._content), b""
        self._room.leave(size)


def fetched_ahead(
    paths: Iterable[str], fetcher: Fetcher, room: Room, threads: int = THREADS
) -> Iterator[str | Fetched]:
    """Yield paths as they are, and what lies at addresses, in order; no thread is started before the first address.

    Args:
        paths: paths and addresses.
        fetcher: says what fetches which.
        room: for what has come and is not decoded yet; whoever wants no more closes it.
        threads: fetches at once.
    """
    from flowercli.inference.pipeline import ordered_map

    rest = iter(paths)
    for path in rest:
        if fetcher(path) is not None:
            work = partial(_fetched, room=room)
            yield from ordered_map(work, _numbered(itertools.chain([path], rest), fetcher), threads)
            return
        yield path


def _numbered(paths: Iterable[str], fetcher: Fetcher) -> Iterator[tuple[str, Fetch | None, int]]:
    """Yield each path with what fetches it and the number of that fetch."""
    numbers = itertools.count()
    for path in paths:
        fetch = fetcher(path)
        yield path, fetch, -1 if fetch is None else next(numbers)


def _fetched(item: tuple[str, Fetch | None, int], room: Room) -> str | Fetched:
    path, fetch, number = item
    if fetch is None:
        return path
    content: bytes | ImageError = b""
    try:
        content = fetch(path) if room.enter(number) else b""
    except ImageError as error:
        content = error
    finally:
        room.arrived(len(content) if isinstance(content, bytes) else 0)
    return Fetched(path, content, room)
