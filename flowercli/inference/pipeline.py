"""Many pictures through one classifier: on all cores, in input order, in constant memory."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flowercli.errors import ImageError
from flowercli.inference.sources import is_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flowercli.inference.classifier import Prediction

T = TypeVar("T")
# Pictures in work or waiting, a worker: enough that a slow one does not stop the others.
WINDOW_PER_WORKER = 8


class Classifies(Protocol):
    """What answers about pictures, from several threads: a classifier, or one whose answers are looked at."""

    def classify(self, source: str | bytes, top_k: int | None = None) -> Prediction:
        """Answer about one picture."""


@dataclass(frozen=True)
class Result:
    """What came of one picture: a prediction or an error."""

    path: str
    outcome: Prediction | ImageError

    def as_dict(self) -> dict[str, Any]:
        """Return the object that ``flowers classify --json`` prints on a line."""
        return as_dict(self.path, self.outcome)


def as_dict(path: str | None, outcome: Prediction | ImageError) -> dict[str, Any]:
    """Return what came of one picture as JSON holds it everywhere; ``path`` is what it is called, if anything."""
    if isinstance(outcome, ImageError):
        return {"path": path, "error": {"code": outcome.code, "message": outcome.message}}
    return {"path": path, **outcome.as_dict()}


def classify_stream(
    classifier: Classifies, paths: Iterable[str], *, workers: int, top_k: int | None = None
) -> Iterator[Result]:
    """Classify pictures and yield the results in input order, each as soon as those before it are out.

    Decoding and inference of one picture happen on one thread, one picture a batch: on a CPU that beats
    larger batches, and neither Pillow nor onnxruntime holds Python's lock while it works.

    Args:
        classifier: opened with one thread an operator, so that ``workers`` of them fill the cores.
        paths: paths and URLs; read only as far ahead as the window needs.
        workers: threads.
        top_k: how many classes each answer lists; all by default.
    """

    def work(path: str) -> Result:
        try:
            source = _fetch(path) if is_url(path) else path
            return Result(path, classifier.classify(source, top_k))
        except ImageError as error:
            return Result(path, error)

    return ordered_map(work, paths, workers)


def _fetch(url: str) -> bytes:
    from flowercli.inference.remote import fetch  # Most runs need no network, and start faster without it.

    return fetch(url)


def ordered_map(work: Callable[[str], T], items: Iterable[str], workers: int) -> Iterator[T]:
    """Apply ``work`` on several threads and yield the results in order, holding few of them at a time.

    ``items`` is read on a thread of its own, so that a result does not wait for the next item: paths
    that are typed, or written by another program, are answered one by one. An exception of
    ``items`` or ``work`` is raised here, in its turn.
    """
    # The futures in order; the size of the queue is what bounds how far ahead is worked.
    queue: Queue[Future[T] | None] = Queue(workers * WINDOW_PER_WORKER)
    pool = ThreadPoolExecutor(workers)

    def feed() -> None:
        try:
            for item in items:
                queue.put(pool.submit(work, item))
        except RuntimeError:
            return  # The pool is shut down: nobody wants more results.
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
