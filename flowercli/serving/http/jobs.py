"""What the threads work on: the pictures of one request, and what became of each."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from flowercli.errors import ImageError
from flowercli.serving.http.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from flowercli.inference.classifier import Classifier, Prediction

    # The bytes of a file; pixels as the model takes them; or what is known to be wrong already.
    Input = bytes | npt.NDArray[np.uint8] | ImageError


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer for one picture, in words and as the model gave it: ``float32`` ``[C]`` and ``[D]``."""

    prediction: Prediction
    probabilities: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]


Outcome = Answered | ImageError | Problem


class Job:
    """The pictures of one request. Its results are put together in the event loop, so nothing here needs a lock."""

    __slots__ = (
        "aside", "begun", "classifier", "future", "left", "loop", "pictures", "request", "results", "since", "top_k",
    )  # fmt: skip

    def __init__(self, pictures: Sequence[Input], classifier: Classifier, top_k: int, request: str | None) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[list[Outcome | None]] = self.loop.create_future()
        # With their places, those that no thread has taken.
        self.pictures = deque(enumerate(pictures))
        # And those that wait for memory.
        self.aside: deque[tuple[int, Input]] = deque()
        self.results: list[Outcome | None] = [None] * len(pictures)
        # When a thread took each picture; written by that thread.
        self.begun: list[float | None] = [None] * len(pictures)
        self.left = len(pictures)
        self.classifier = classifier
        self.top_k = top_k
        self.request = request
        self.since = perf_counter()

    def done(self, place: int, outcome: Outcome) -> None:
        """Take the result of one picture."""
        self.results[place] = outcome
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result(self.results)

    def give_up(self) -> None:
        """Let the pictures go: nobody waits for them any more."""
        self.future.cancel()
        self.pictures.clear()
        self.aside.clear()
