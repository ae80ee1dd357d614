"""The work itself: requests wait in one queue, and threads that share one session answer about a picture of each."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from flowercli.errors import ImageError
from flowercli.inference.classifier import DEFAULT_TOP_K
from flowercli.inference.memory import DECODERS, NoRoomError
from flowercli.inference.preprocess import Picture, load_picture
from flowercli.monitoring.features import Observation
from flowercli.serving.http.jobs import Answered, Job
from flowercli.serving.http.problems import Problem, busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from flowercli.inference.classifier import Classifier
    from flowercli.serving.http.jobs import Input, Outcome
    from flowercli.serving.http.metrics import Metrics
    from flowercli.serving.http.observers import Observers
    from flowercli.serving.http.settings import Limits


logger = logging.getLogger(__name__)
# The weight of the latest picture in the mean that says how long a queue takes.
LATEST = 0.05
FIRST_GUESS = 0.02
# Threads that pictures hold, beside those that work: each may hold the memory of its picture.
MOST_LEFT_BEHIND = 4


class Worker(Thread):
    """A thread, since when it is busy with one picture, and whether another has its place."""

    def __init__(self, work: Callable[[Worker], None]) -> None:
        super().__init__(name="flowers-worker", daemon=True)
        self.busy_since: float | None = None
        self.replaced = False
        self._work = work

    def run(self) -> None:
        """Work until there is no more, or until this thread was replaced."""
        self._work(self)

    def is_stuck(self, seconds: float) -> bool:
        """Whether it has been busy with one picture for so long."""
        since = self.busy_since
        return since is not None and perf_counter() - since >= seconds


class Workers:
    """Threads that answer about pictures, one picture a batch.

    Requests take turns: those of many pictures keep none waiting that have few. A picture for which others have taken
    the memory now waits until they give some back, and comes in again then.

    A decoder cannot be interrupted: a thread that a picture holds for too long gets a successor, and ends when it is
    done.
    """

    def __init__(
        self, classifier: Classifier, *, threads: int, limits: Limits, metrics: Metrics, observers: Observers
    ) -> None:
        self._classifier = classifier
        self._limits = limits
        self._metrics = metrics
        self._observers = observers
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        # Those that wait for their answer; for the event loop.
        self._jobs: set[Job] = set()
        self._mean_seconds = FIRST_GUESS
        self._threads = [Worker(self._work) for _ in range(threads)]
        # Pictures that no longer wait: each thread has one.
        self._at_once = threads
        self._left_behind: list[Worker] = []

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> None:
        """End the threads when the queue is empty; leave those behind that take longer than this."""
        deadline = perf_counter() + seconds
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - perf_counter()))

    def all_stuck(self) -> bool:
        """Whether nothing can be answered any more: each thread is held by a picture, and has had its successors."""
        return all(thread.is_stuck(self._limits.picture) for thread in self._threads)

    def check_room(self, pictures: int = 1) -> None:
        """Refuse pictures that would wait too long.

        Raises:
            Problem: 429, with the seconds after which there is room.
        """
        # What one request may hold is always taken when nothing waits.
        if (turns := self._waiting(pictures)) and turns + pictures > self._limits.queue:
            waiting = self._waiting()
            seconds = math.ceil(waiting * self._mean_seconds / len(self._threads))
            raise busy(429, "too_busy", f"{waiting} pictures are waiting already.", seconds)

    def _waiting(self, pictures: int = sys.maxsize) -> int:
        """Return how many pictures wait for a thread; of each request as many as have their turn before so many."""
        return max(0, sum(min(job.left, pictures) for job in self._jobs) - self._at_once)

    async def answer(
        self,
        pictures: Sequence[Input],
        classifier: Classifier,
        top_k: int = DEFAULT_TOP_K,
        request: str | None = None,
    ) -> list[Outcome]:
        """Answer about the pictures of one request, each in its place.

        Args:
            pictures: of the request.
            classifier: the service's, or a restricted one that shares its session.
            top_k: how many classes an answer lists; 0 for all.
            request: its id, for the observers.

        Raises:
            Problem: 429, there is no room; 503, they waited or took for too long.
        """
        self.check_room(len(pictures))
        job = Job(pictures, classifier, top_k, request)
        with self._counted(job):
            self._queue.put(job)
            await self._wait(job)
        outcomes = [outcome for outcome in job.future.result() if outcome is not None]
        for outcome in outcomes:
            if isinstance(outcome, Problem):
                raise outcome
        return outcomes

    @contextmanager
    def _counted(self, job: Job) -> Iterator[None]:
        """Count a job as long as somebody waits for its answers."""
        self._jobs.add(job)
        self._metrics.waiting.set(self._waiting())
        try:
            yield
        finally:
            self._jobs.remove(job)
            self._metrics.waiting.set(self._waiting())

    async def _wait(self, job: Job) -> None:
        """Wait for a job; for no longer, where all threads are busy, than its pictures may wait and one may take.

        Raises:
            Problem: 503.
        """
        await asyncio.wait({job.future}, timeout=self._limits.wait)
        begun = [since for since in job.begun if since is not None]
        if not job.future.done() and len(begun) == len(job.begun):
            left = self._limits.picture - (perf_counter() - max(begun))
            await asyncio.wait({job.future}, timeout=max(0.0, left))
        if job.future.done():
            return
        job.give_up()
        self._replace_stuck()
        seconds = perf_counter() - job.since
        raise busy(503, "too_slow", f"The pictures were not answered in {seconds:.1f} seconds.", seconds)

    def _replace_stuck(self) -> None:
        """Give each thread that a picture holds for too long a successor, as long as not too many are left behind."""
        self._left_behind = [thread for thread in self._left_behind if thread.is_alive()]
        for place, thread in enumerate(self._threads):
            if len(self._left_behind) < MOST_LEFT_BEHIND and thread.is_stuck(self._limits.picture):
                logger.error("A picture has held a thread for %.0f s; another takes its place.", self._limits.picture)
                thread.replaced = True
                self._left_behind.append(thread)
                self._threads[place] = Worker(self._work)
                self._threads[place].start()

    def _work(self, thread: Worker) -> None:
        while not thread.replaced and (job := self._queue.get()) is not None:
            # Nobody may wait any more: the job was given up, or the event loop has ended.
            if not job.future.done():
                self._take_turn(thread, job)
            del job

    def _take_turn(self, thread: Worker, job: Job) -> None:
        try:
            place, picture = job.pictures.popleft()
        except IndexError:  # A picture that was put back was taken in a turn before.
            return
        if job.pictures:
            self._queue.put(job)
        thread.busy_since = job.begun[place] = perf_counter()
        self._take(job, place, picture, thread.busy_since)
        thread.busy_since = None

    def _take(self, job: Job, place: int, picture: Input, started: float) -> None:
        try:
            outcome = self._outcome(job, picture, started)
        except NoRoomError:
            self._put_aside(job, place, picture)
            return
        self._tell(job, place, outcome, started)

    def _tell(self, job: Job, place: int, outcome: Outcome, started: float) -> None:
        """Hand over what came of a picture that was begun with then."""
        self._metrics.queue.observe(started - job.since)
        if not job.loop.is_closed():
            job.loop.call_soon_threadsafe(job.done, place, outcome)

    def _put_aside(self, job: Job, place: int, picture: Input) -> None:
        """Keep a picture until others give back the memory that it needs."""
        job.begun[place] = None
        job.aside.append((place, picture))
        DECODERS.tell_when_freed(partial(self._put_back, job))

    def _put_back(self, job: Job) -> None:
        with suppress(IndexError):  # It was given up.
            job.pictures.appendleft(job.aside.popleft())
            self._queue.put(job)

    def _outcome(self, job: Job, picture: Input, started: float) -> Outcome:
        try:
            loaded = self._load(picture, started)
            return loaded if isinstance(loaded, ImageError) else self._answer(loaded, job, started)
        except NoRoomError:
            raise
        except Exception:  # noqa: BLE001  (logged there)
            return self._defect()

    def _defect(self) -> Problem:
        """Log what is wrong with us, and answer so; called where it is caught."""
        logger.exception("A picture could not be answered.")  # noqa: LOG004
        self._metrics.bad_picture()
        return Problem(500, "internal", "The picture could not be answered; the log says why.")

    def _load(self, source: Input, started: float) -> Picture | ImageError:
        """Decode a picture, or say what is wrong with it."""
        loaded: Picture | ImageError
        try:
            if isinstance(source, bytes):
                loaded = load_picture(source, self._classifier.spec, self._limits.pixels)
            else:
                loaded = source if isinstance(source, ImageError) else Picture(source, source.shape[1], source.shape[0])
        except ImageError as error:
            # The error itself holds, by its traceback, all that was decoded of the picture.
            loaded = ImageError(error.code, error.message)
        if isinstance(loaded, ImageError):
            self._metrics.bad_picture()
        else:
            self._metrics.decode.observe(perf_counter() - started)
        return loaded

    def _answer(self, picture: Picture, job: Job, started: float) -> Answered:
        decoded = perf_counter()
        outputs = self._classifier.run(picture.pixels[np.newaxis])
        ended = perf_counter()
        self._metrics.infer.observe(ended - decoded)
        self._mean_seconds += LATEST * (ended - started - self._mean_seconds)
        return self._said(job, picture, outputs.probabilities[0], outputs.embedding[0], outputs.known[0])

    def _said(
        self,
        job: Job,
        picture: Picture,
        probabilities: npt.NDArray[np.float32],
        embedding: npt.NDArray[np.float32],
        known: np.float32,
    ) -> Answered:
        """Put into words what the graph says of a picture, count it, and tell the observers."""
        prediction = job.classifier.prediction(probabilities, known, job.top_k)
        self._metrics.picture(prediction.class_index, prediction.reason)
        if self._observers:
            size = picture.width, picture.height
            self._observers.tell(Observation(prediction, *size, picture.brightness), job.request)
        return Answered(prediction, probabilities, embedding)
