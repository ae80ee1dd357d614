"""The work where a GPU wants batches: threads decode pictures of many requests, and others answer about them."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from flowercli.errors import ImageError
from flowercli.inference.batches import Gatherer
from flowercli.inference.memory import NoRoomError
from flowercli.serving.http.workers import LATEST, Workers

if TYPE_CHECKING:
    from flowercli.inference.batches import Batches
    from flowercli.inference.classifier import Classifier
    from flowercli.inference.preprocess import Picture
    from flowercli.serving.http.jobs import Input, Job, Outcome
    from flowercli.serving.http.metrics import Metrics
    from flowercli.serving.http.observers import Observers
    from flowercli.serving.http.settings import Limits
    from flowercli.serving.http.workers import Worker


class Decoded(NamedTuple):
    """A picture of a request that was begun with then, its place there, and when it was decoded."""

    job: Job
    place: int
    picture: Picture
    started: float
    decoded: float


class BatchWorkers(Workers):
    """Threads that decode pictures, and others that answer about those of several requests at once.

    A picture waits for others while any is being decoded or waits for a thread, and no longer than ``batches`` says.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        threads: int,
        limits: Limits,
        metrics: Metrics,
        observers: Observers,
        batches: Batches,
    ) -> None:
        super().__init__(classifier, threads=threads, limits=limits, metrics=metrics, observers=observers)
        self._gatherer = Gatherer(self._answer_batch, batches, self._is_more_coming)
        self._at_once += batches.most

    def start(self) -> None:
        """Start the threads."""
        self._gatherer.start()
        super().start()

    def stop(self, seconds: float) -> None:
        """End the threads when nothing waits any more; leave those behind that take longer than this."""
        deadline = perf_counter() + seconds
        super().stop(seconds)
        self._gatherer.close(max(0.0, deadline - perf_counter()))

    def all_stuck(self) -> bool:
        """Whether nothing can be answered any more: each thread is held by a picture, or the device by a batch."""
        return super().all_stuck() or self._gatherer.is_stuck(self._limits.picture)

    def _is_more_coming(self) -> bool:
        return not self._queue.empty() or any(thread.busy_since is not None for thread in self._threads)

    def _take_turn(self, thread: Worker, job: Job) -> None:
        super()._take_turn(thread, job)
        self._gatherer.look()

    def _take(self, job: Job, place: int, picture: Input, started: float) -> None:
        try:
            loaded = self._load(picture, started)
        except NoRoomError:
            self._put_aside(job, place, picture)
        except Exception:  # noqa: BLE001  (logged there)
            self._tell(job, place, self._defect(), started)
        else:
            if isinstance(loaded, ImageError):
                self._tell(job, place, loaded, started)
            else:
                self._gatherer.put(Decoded(job, place, loaded, started, perf_counter()))

    def _answer_batch(self, batch: list[Decoded]) -> None:
        """Answer about pictures of any requests, whose clients may have gone."""
        wanted = [one for one in batch if not one.job.future.done()]
        if not wanted:
            return
        begun = perf_counter()
        try:
            rows = self._classifier.run([one.picture.pixels for one in wanted])
        except Exception:  # noqa: BLE001  (logged there)
            for one in wanted:
                self._tell(one.job, one.place, self._defect(), one.started)
            return
        ended = perf_counter()
        self._metrics.batch.observe(len(wanted))
        for number, one in enumerate(wanted):
            self._metrics.infer.observe(ended - one.decoded)
            self._tell_row(one, *(column[number] for column in rows))
        self._learn(wanted, ended - begun)

    def _tell_row(self, one: Decoded, *row: Any) -> None:
        try:
            outcome: Outcome = self._said(one.job, one.picture, *row)
        except Exception:  # noqa: BLE001  (logged there)
            outcome = self._defect()
        self._tell(one.job, one.place, outcome, one.started)

    def _learn(self, batch: list[Decoded], seconds: float) -> None:
        """Learn for how long a thread is taken by a picture, or would be, were it what the device takes for it."""
        decoding = sum(one.decoded - one.started for one in batch)
        mean = max(decoding, seconds * len(self._threads)) / len(batch)
        self._mean_seconds += LATEST * (mean - self._mean_seconds)
