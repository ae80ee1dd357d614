"""Pictures that many threads decode, gathered into batches as they come: for what answers many as fast as one, a GPU.

A batch goes when it is full, when nothing else is on its way, or when its first picture has waited long enough.
"""

from __future__ import annotations

import itertools
from collections import deque
from contextlib import suppress
from threading import Condition, Lock, Thread, get_ident
from time import perf_counter
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from flowercli.inference.on_device import best_size
from flowercli.inference.pipeline import WINDOW_PER_WORKER, settle, started_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

S = TypeVar("S")
P = TypeVar("P")
T = TypeVar("T")
# How much fewer pictures a second a smaller batch may give than the best one.
SLACK = 0.05
# How long a picture waits for others at most. A full batch of its size takes less than that on any GPU of today.
MOST_WAIT = 0.02
# Batches that are worked on at once: while the device has one, the next is put together and the last is worded.
AT_ONCE = 2


class Batches(NamedTuple):
    """How pictures are gathered: so many at most, the first of which waits for the others so many seconds at most."""

    most: int
    wait: float

    @classmethod
    def chosen(cls, seconds: Mapping[int, float], most: int | None = None) -> Batches:
        """Choose by what was measured: waiting as long as the device works doubles the time of an answer at most.

        Args:
            seconds: of a run of each size.
            most: the size that is asked for; without one the least that gives nearly as many pictures a second as any.
        """
        size = most or best_size(seconds, SLACK)
        runs = min((taken for fitting, taken in seconds.items() if fitting >= size), default=MOST_WAIT)
        return cls(size, min(runs, MOST_WAIT))


class Gathering(NamedTuple):
    """How pictures are gathered before anything is known of the device, and what measures it."""

    first: Batches
    measured: Callable[[], Batches]


class Gatherer(Generic[P]):
    """Gathers what other threads bring, and works on it batch by batch, on threads of its own.

    Args:
        work: called with each batch; it must not raise.
        batches: their size, and how long they wait.
        coming: whether more is on its way; called often, it only looks.
    """

    def __init__(self, work: Callable[[list[P]], None], batches: Batches, coming: Callable[[], bool]) -> None:
        self._work, self._coming = work, coming
        # May be replaced by better ones at any time.
        self.batches = batches
        # With the time when each came.
        self._waiting: deque[tuple[float, P]] = deque()
        self._changed = Condition()
        self._closed = False
        self._begun: dict[int, float] = {}
        self._threads = [Thread(target=self._run, name="flowers-batches", daemon=True) for _ in range(AT_ONCE)]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def put(self, item: P) -> None:
        """Bring one."""
        with self._changed:
            self._waiting.append((perf_counter(), item))
            self._changed.notify_all()

    def look(self) -> None:
        """Take note that less is on its way than before."""
        with self._changed:
            self._changed.notify_all()

    def close(self, seconds: float = 0.0) -> None:
        """Take no more; what waits is worked on for so long, and let go then."""
        with self._changed:
            self._closed = True
            if not seconds:
                self._waiting.clear()
            self._changed.notify_all()
        deadline = perf_counter() + seconds
        for thread in self._threads if seconds else ():
            thread.join(max(0.0, deadline - perf_counter()))

    def is_stuck(self, seconds: float) -> bool:
        """Whether a batch has been worked on for so long."""
        return any(perf_counter() - begun >= seconds for begun in list(self._begun.values()))

    def _run(self) -> None:
        while batch := self._next():
            self._begun[get_ident()] = perf_counter()
            self._work(batch)
            del self._begun[get_ident()], batch

    def _next(self) -> list[P]:
        """Wait for a batch; an empty one is the end."""
        with self._changed:
            while not self._is_due():
                left = self._waiting[0][0] + self.batches.wait - perf_counter() if self._waiting else None
                self._changed.wait(left)
            return [self._waiting.popleft()[1] for _ in range(min(self.batches.most, len(self._waiting)))]

    def _is_due(self) -> bool:
        if not self._waiting:
            return self._closed
        full = len(self._waiting) >= self.batches.most
        return full or self._closed or not self._coming() or self._is_late()

    def _is_late(self) -> bool:
        return perf_counter() >= self._waiting[0][0] + self.batches.wait


class UnderWay:
    """How many there are on the way: false when none is."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = Lock()

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, more: int) -> None:
        """Count more, or less."""
        with self._lock:
            self._count += more


def gathered_map(
    load: Callable[[S], P],
    work: Callable[[Sequence[P]], Iterable[T]],
    items: Iterable[S],
    workers: int,
    gathering: Gathering,
) -> Iterator[T]:
    """Load on several threads, work on what was loaded batch by batch, and yield the results in order.

    All else is as in :func:`pipeline.grouped_map`; what is loaded and waits is bounded by three batches and what the
    threads hold.

    Args:
        load: makes of an item what a batch consists of; what it raises is raised in its turn, and harms no other.
        work: gives the results of a batch.
        items: read only as far ahead as there is room.
        workers: threads that load.
        gathering: of how many a batch is, and how long the first of one waits. It is measured when a whole batch has
            come: for fewer that would take longer than what it wins.
    """
    under_way, first = UnderWay(), gathering.first
    come = itertools.count(1)

    def settled(batch: list[tuple[P, Future[T]]]) -> None:
        settle(work, batch)
        if any(next(come) == first.most for _ in batch):
            with suppress(Exception):  # What is wrong with the device, its next batch tells.
                gatherer.batches = gathering.measured()

    gatherer: Gatherer[tuple[P, Future[T]]] = Gatherer(settled, first, under_way.__bool__)

    def announced() -> Iterator[S]:
        for item in items:
            under_way.add(1)
            yield item

    def start(group: list[tuple[S, Future[T]]]) -> None:
        for item, future in group:
            try:
                gatherer.put((load(item), future))
            except BaseException as error:  # noqa: BLE001  (raised again by the consumer)
                future.set_exception(error)
            under_way.add(-1)
            gatherer.look()

    gatherer.start()
    try:
        yield from started_map(start, announced(), workers, workers * WINDOW_PER_WORKER + (AT_ONCE + 1) * first.most)
    finally:
        gatherer.close()
