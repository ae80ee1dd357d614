"""Many pictures through one classifier: on all cores, in input order, in constant memory."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import Empty, Queue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from flowercli.errors import ImageError
from flowercli.inference.ahead import Fetched, Room, by_web, fetched_ahead
from flowercli.inference.classifier import DEFAULT_TOP_K, Classifier
from flowercli.inference.cpu import available_cores
from flowercli.inference.sources import STDIN, picture_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from flowercli.bundle import Bundle
    from flowercli.inference.ahead import Fetcher
    from flowercli.inference.batches import Gathering
    from flowercli.inference.classifier import Prediction
    from flowercli.inference.preprocess import Picture

S = TypeVar("S")
T = TypeVar("T")
# Pictures in work or waiting, a worker: enough that a slow one does not stop the others.
WINDOW_PER_WORKER = 8
# Items that a worker takes at once where enough wait: decoding two, running two and wording two costs less than twice
# one of each, as the caches of the CPU are warm for the second; four are no better than two.
GROUP = 2


class Classifies(Protocol):
    """What answers about pictures, from several threads: a classifier, or one whose answers are looked at."""

    def load(self, source: str | bytes) -> Picture:
        """Decode one picture."""

    def answer(self, pictures: Sequence[Picture], top_k: int = DEFAULT_TOP_K) -> list[Prediction]:
        """Answer about decoded pictures."""

    def gathering(self) -> Gathering | None:
        """Say how pictures are to be gathered for it; ``None``: not at all."""


def open_for_many(bundle: Bundle, device: str | None = None, batch_size: int | None = None) -> Classifier:
    """Open a bundle for many pictures: to ask about each alone, or about so many at once on all cores or the GPU.

    Raises:
        DeviceError, BundleError: as of :meth:`Classifier.open`.
    """
    if batch_size is None:
        return Classifier.open(bundle, device)
    classifier = Classifier.open(bundle, device, threads=1 if batch_size == 1 else available_cores())
    return classifier.in_batches(batch_size)


class Result(NamedTuple):
    """What came of one picture: a prediction or an error.

    Of several that were put together, ``members`` are their paths, and ``path`` is what they are called.
    """

    path: str
    outcome: Prediction | ImageError
    members: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the object that ``flowers classify --json`` prints on a line."""
        said = as_dict(self.path, self.outcome)
        return said | {"photos": list(self.members)} if self.members else said


def as_dict(path: str | None, outcome: Prediction | ImageError) -> dict[str, Any]:
    """Return what came of one picture as JSON holds it everywhere; ``path`` is what it is called, if anything."""
    if isinstance(outcome, ImageError):
        return {"path": path, "error": {"code": outcome.code, "message": outcome.message}}
    return {"path": path, **outcome.as_dict()}


def classify_stream(
    classifier: Classifies,
    paths: Iterable[str],
    *,
    workers: int,
    top_k: int = DEFAULT_TOP_K,
    fetcher: Fetcher = by_web,
) -> Iterator[Result]:
    """Classify pictures and yield the results in input order, each as soon as those before it are out.

    On a CPU, decoding and inference of one picture happen on one thread, one picture a batch: so an answer never
    depends on the neighbours, and neither Pillow nor onnxruntime holds Python's lock while it works. For a classifier
    that wants batches the threads decode, and what they have decoded is gathered. What lies at an address is fetched
    before, by threads of its own, so that no core waits for it.

    Args:
        classifier: opened with one thread an operator, so that ``workers`` of them fill the cores.
        paths: paths and URLs; read only as far ahead as the window needs.
        workers: threads.
        top_k: how many classes each answer lists; 0 for all.
        fetcher: says what fetches an address.
    """

    def load(source: str | Fetched) -> tuple[str, Picture | ImageError]:
        return _path(source), _load(classifier, source)

    def answered(loaded: Sequence[tuple[str, Picture | ImageError]]) -> Iterator[Result]:
        pictures = [one for _, one in loaded if not isinstance(one, ImageError)]
        answers = iter(classifier.answer(pictures, top_k))
        return (Result(path, one if isinstance(one, ImageError) else next(answers)) for path, one in loaded)

    def work(group: Sequence[str | Fetched]) -> Iterable[Result]:
        return answered(list(map(load, group)))

    room = Room()
    try:
        sources = fetched_ahead(paths, fetcher, room)
        if (gathering := classifier.gathering()) is None:
            yield from grouped_map(work, sources, workers)
        else:
            from flowercli.inference.batches import gathered_map

            yield from gathered_map(load, answered, sources, workers, gathering)
    finally:
        room.close()


def _load(classifier: Classifies, source: str | Fetched) -> Picture | ImageError:
    try:
        if isinstance(source, Fetched):
            with source as content:
                return classifier.load(content)
        return classifier.load(picture_on(sys.stdin) if source == STDIN else source)
    except ImageError as error:
        return error


def _path(source: str | Fetched) -> str:
    return source if isinstance(source, str) else source.path


class Waiting(Generic[S, T]):
    """Items that no worker has taken yet, each with the future of its result, and the calls of workers on their way.

    There is a call for every item, and never many more: one that takes two items leaves one that takes none, and that
    one serves the next item to come.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._items: deque[tuple[S, Future[T]]] = deque()
        self._calls = 0
        self._lock = Lock()

    def add(self, item: S, future: Future[T]) -> bool:
        """Add an item and return whether a worker must be called for it."""
        with self._lock:
            self._items.append((item, future))
            missing = self._calls < len(self._items)
            self._calls += missing
            return missing

    def take(self) -> list[tuple[S, Future[T]]]:
        """Answer a call: take what waits longest, a group where more waits than there are workers."""
        with self._lock:
            self._calls -= 1
            most = GROUP if len(self._items) > self._workers else 1
            return [self._items.popleft() for _ in range(min(most, len(self._items)))]


def ordered_map(work: Callable[[S], T], items: Iterable[S], workers: int) -> Iterator[T]:
    """Apply ``work`` to one item at a time; all else is as in :func:`grouped_map`."""
    return grouped_map(partial(map, work), items, workers)


def grouped_map(work: Callable[[Sequence[S]], Iterable[T]], items: Iterable[S], workers: int) -> Iterator[T]:
    """Apply ``work`` on several threads and yield the results in order, holding few of them at a time.

    ``items`` is read on a thread of its own, so that a result does not wait for the next item: paths
    that are typed, or written by another program, are answered one by one. An exception of
    ``items`` or ``work`` is raised here, in its turn.

    Args:
        work: gives the results of a group: of one item, or of :data:`GROUP` where more wait than there are workers.
        items: read only as far ahead as the window needs.
        workers: threads.
    """
    return started_map(partial(settle, work), items, workers, workers * WINDOW_PER_WORKER)


def started_map(
    start: Callable[[list[tuple[S, Future[T]]]], None], items: Iterable[S], workers: int, window: int
) -> Iterator[T]:
    """Start work on several threads and yield the results in order; all else is as in :func:`grouped_map`.

    Args:
        start: called with items, each with the future that is to get its result, by then or later.
        items: read only as far ahead as the window needs.
        workers: threads.
        window: results that are awaited at once.
    """
    # The futures in order; the size of the queue is what bounds how far ahead is worked.
    queue: Queue[Future[T] | None] = Queue(window)
    waiting: Waiting[S, T] = Waiting(workers)
    pool = ThreadPoolExecutor(workers)

    def work_on_some() -> None:
        group = waiting.take()
        if group:
            start(group)

    def feed() -> None:
        try:
            for item in items:
                future: Future[T] = Future()
                if waiting.add(item, future) and not _submitted(pool, work_on_some):
                    return
                queue.put(future)
        except BaseException as error:  # noqa: BLE001  (raised again by the consumer)
            failed: Future[T] = Future()
            failed.set_exception(error)
            queue.put(failed)
        queue.put(None)

    Thread(target=feed, daemon=True).start()
    try:
        while (future := queue.get()) is not None:
            yield future.result()
    finally:
        # Reached early on Ctrl-C, or when the reader of the results has gone.
        pool.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(Empty):
            while True:  # Wakes the feeder if it waits for room; its next submit ends it.
                queue.get_nowait()


def _submitted(pool: ThreadPoolExecutor, call: Callable[[], None]) -> bool:
    """Ask a pool for a call; ``False`` once it is shut down, as nobody wants more results then."""
    try:
        pool.submit(call)
    except RuntimeError:
        return False
    return True


def settle(work: Callable[[Sequence[S]], Iterable[T]], group: list[tuple[S, Future[T]]]) -> None:
    """Work on a group and give each future its result as it comes, or the error that ended the work."""
    items, futures = zip(*group, strict=True)
    left = iter(futures)
    try:
        for result in work(items):
            next(left).set_result(result)
    except BaseException as error:  # noqa: BLE001  (raised again by the consumer)
        for future in left:
            future.set_exception(error)
