"""One server process's service: the model, opened once and warmed up, its threads, limits, metrics and observers."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from flowercli.inference.memory import limit_decoders
from flowercli.inference.pipeline import open_for_many
from flowercli.inference.preprocess import load_pixels
from flowercli.models import load_model
from flowercli.serving.arriving import Arrivals
from flowercli.serving.http.batch_workers import BatchWorkers
from flowercli.serving.http.metrics import Metrics
from flowercli.serving.http.observers import Observers
from flowercli.serving.http.problems import Problem
from flowercli.serving.http.workers import Workers

if TYPE_CHECKING:
    from starlette.requests import Request

    from flowercli.inference.classifier import Classifier
    from flowercli.serving.http.settings import Settings

WARM_UP_SIZE = (640, 480)
WARM_UPS = 3


def open_classifier(settings: Settings) -> Classifier:
    """Open the model of a service on its device.

    Raises:
        BundleError: there is no such model, or it cannot be used.
        DeviceError: the device cannot be had.
        UsageError: it is to answer among classes that it does not have.
    """
    classifier = open_for_many(load_model(settings.model), settings.device, settings.batch_size)
    return classifier if settings.only is None else classifier.answering_only(settings.only)


class Service:
    """What the routes ask. ``ready`` is true from the end of the warming up to the first sign of the end."""

    def __init__(self, classifier: Classifier, settings: Settings) -> None:
        self.classifier = classifier
        self.settings = settings
        self.limits = settings.limits
        self.ready = False
        self.draining = False
        self._drained_by = 0.0
        self.metrics = Metrics(classifier.bundle.class_names)
        self.metrics.describe(classifier.bundle, classifier.runtime)
        self.arrivals = Arrivals(most=self.limits.body, held=self.limits.held, seconds=self.limits.upload)
        self.observers = Observers([make(classifier) for make in settings.observers])
        self.workers = self._workers()
        self.embedding_size = 0

    def _workers(self) -> Workers:
        """Make what answers, measuring first where pictures are gathered into batches."""
        gathering = self.classifier.gathering()
        make = Workers if gathering is None else partial(BatchWorkers, batches=gathering.measured())
        return make(
            self.classifier,
            threads=self.settings.threads,
            limits=self.limits,
            metrics=self.metrics,
            observers=self.observers,
        )

    def start(self) -> None:
        """Warm up, so that the first answer takes no longer than the others, and start the threads."""
        buffer = io.BytesIO()
        Image.new("RGB", WARM_UP_SIZE, "white").save(buffer, "JPEG")
        for _ in range(WARM_UPS):
            pixels = load_pixels(buffer.getvalue(), self.classifier.spec)
            outputs = self.classifier.run(pixels[np.newaxis])
        self.embedding_size = outputs.embedding.shape[1]
        limit_decoders(self.settings.threads)
        self.workers.start()
        self.ready = True

    @asynccontextmanager
    async def receiving(self, request: Request) -> AsyncIterator[bytes]:
        """Yield the body of a request for pictures, which counts as held as long as the block runs.

        Raises:
            Problem: 415, it is compressed; 429, there is no room for pictures; or the body is not taken.
            ClientDisconnect: the client has gone.
        """
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Problem(415, "unsupported_encoding", "Compressed requests are not taken: send it as it is.")
        self.workers.check_room()
        length = request.headers.get("content-length", "")
        body = await self.arrivals.read(request.receive, int(length) if length.isdecimal() else 0)
        request.state.bytes_in = body.size
        try:
            yield body.hand_over()
        finally:
            body.release()

    def drain(self) -> None:
        """Be no longer ready: what was accepted is answered, and connections end with their answer."""
        self.ready = False
        if not self.draining:
            self._drained_by = perf_counter() + self.settings.drain_seconds
        self.draining = True

    def stop(self) -> None:
        """End the threads and close the observers, after the last answer."""
        self.drain()
        self.workers.stop(max(0.0, self._drained_by - perf_counter()))
        self.observers.close()
