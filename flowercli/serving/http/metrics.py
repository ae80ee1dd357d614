"""What Prometheus is told, of one process or of several together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from flowercli import __version__
from flowercli.inference.classifier import UNKNOWN, UNSURE

if TYPE_CHECKING:
    from flowercli.bundle import Bundle
    from flowercli.inference.session import Runtime

# Where the workers of one service keep their numbers; set before prometheus_client is imported.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PICTURES = (1, 2, 4, 8, 16, 32, 64)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
STAGES = ("decode", "infer", "queue")


class Metrics:
    """The metrics of a service. Adding to them is safe from every thread."""

    def __init__(self, class_names: list[str]) -> None:
        disable_created_metrics()
        self._registry = None if os.environ.get(FOLDER_VARIABLE) else CollectorRegistry()
        self._requests = self._make(Counter, "flowers_requests_total", "Requests.", ("route", "method", "status"))
        self._seconds = self._make(
            Histogram, "flowers_request_seconds", "Seconds from headers to answer.", ("route",), buckets=SECONDS
        )
        stages = self._make(
            Histogram, "flowers_stage_seconds", "Seconds a picture spends in a stage.", ("stage",), buckets=SECONDS
        )
        self.decode, self.infer, self.queue = (stages.labels(stage) for stage in STAGES)
        self.batch = self._make(
            Histogram, "flowers_batch_images", "Pictures that the model was asked about at once.", buckets=PICTURES
        )
        images = self._make(Counter, "flowers_images_total", "Pictures, by what came of them.", ("outcome", "reason"))
        self._outcomes = {None: images.labels("answered", "")} | {
            reason: images.labels("rejected", reason) for reason in (UNSURE, UNKNOWN)
        }
        self._error = images.labels("error", "")
        classes = self._make(Counter, "flowers_predictions_total", "Answers, by class.", ("class_name",))
        self._classes = [classes.labels(name) for name in class_names]
        self.in_progress = self._gauge("flowers_in_progress", "Requests under way.", "livesum")
        self.waiting = self._gauge("flowers_queue_images", "Pictures that wait for a thread.", "livesum")
        self._shed = self._make(Counter, "flowers_shed_total", "Requests refused for want of capacity.", ("status",))
        self._cache: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def describe(self, bundle: Bundle, runtime: Runtime) -> None:
        """Tell which model runs on what."""
        model = {
            "name": bundle.path.name, "architecture": bundle.config["architecture"],
            "classes": str(len(bundle.class_names)), "version": __version__,
        }  # fmt: skip
        on = {"device": runtime.device, "provider": runtime.provider, "graph": runtime.graph}
        for name, text, labels in (
            ("flowers_model_info", "The model.", model),
            ("flowers_runtime_info", "What the model runs on.", on),
        ):
            self._gauge(name, text, "max", tuple(labels)).labels(**labels).set(1)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        key = (route, method, status)
        if key not in self._cache:
            self._cache[key] = (self._requests.labels(route, method, str(status)), self._seconds.labels(route))
        counter, histogram = self._cache[key]
        counter.inc()
        histogram.observe(seconds)

    def picture(self, class_index: int, reason: str | None) -> None:
        """Count a picture that was answered; ``reason`` is why the answer was rejected, if it was."""
        self._outcomes[reason].inc()
        self._classes[class_index].inc()

    def bad_picture(self) -> None:
        """Count a picture that was not."""
        self._error.inc()

    def shed(self, status: int) -> None:
        """Count a request that was refused for want of capacity."""
        self._shed.labels(str(status)).inc()

    def render(self) -> bytes:
        """Return everything in Prometheus' text format, of all workers."""
        registry = self._registry
        if registry is None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return generate_latest(registry)

    def _gauge(self, name: str, text: str, mode: Any, labels: tuple[str, ...] = ()) -> Gauge:
        gauge: Gauge = self._make(Gauge, name, text, labels, multiprocess_mode=mode)
        return gauge

    def _make(self, kind: Any, name: str, text: str, labels: tuple[str, ...] = (), **options: Any) -> Any:
        return kind(name, text, labels, registry=self._registry, **options)
