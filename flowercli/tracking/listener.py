"""Record a run in MLflow: what training says goes into a spool on disk, and a thread sends it on.

Training never waits for the network. A server that goes away in mid-run gets the rest when it is back,
or, if it stays away, from ``flowers track`` later.
"""

from __future__ import annotations

import contextlib
import math
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from flowercli.errors import TrainingInterrupted
from flowercli.mlflow_quietly import import_mlflow
from flowercli.tracking import records
from flowercli.tracking.records import in_parts, recorded
from flowercli.tracking.replay import METRICS_A_REQUEST, Replay
from flowercli.tracking.sender import Sender
from flowercli.tracking.spool import MODEL, Spool
from flowercli.tracking.store import Store, reason
from flowercli.training.listeners import EpochReport, Listener, epoch_values

if TYPE_CHECKING:
    from flowercli.data.manifest import Manifest
    from flowercli.tracking.system import SystemMetrics
    from flowercli.training.run import TrainResult
    from flowercli.training.schema import TrainConfig

FOLDER = "tracking"
# Seconds that a server which does not answer is given at the end of a run, whole or broken off.
PATIENCE = 10.0
PATIENCE_AFTER_FAILURE = 2.0


class NoTracking(Listener):
    """What ``tracking=none`` gives: a listener that keeps nothing."""

    records = False
    place = "none"
    unsent: Path | None = None
    trouble = ""
    recorded_in: str | None = None

    def __init__(self) -> None:
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        """Nothing is open."""

    def log_result(self, result: TrainResult) -> None:
        """Record the bundle and the plots."""

    def log_model(self, save: Callable[[Path], None]) -> None:
        """Record the servable model, which ``save`` writes into the folder that it is given."""


class Tracking(NoTracking):
    """The listener that records a run.

    The record begins with the first step, so that a mistake found before it leaves no trace; a run that
    is resumed goes on with the record it has, whether that was sent or not. ``unsent`` is,
    after the end, the folder of the records that the server does not have, ``trouble`` the reason;
    ``problems`` says what else is missing, ``recorded_in`` where all of it is.
    """

    records = True

    def __init__(self, config: TrainConfig, manifest: Manifest, store: Store, say: Callable[[str], None]) -> None:
        super().__init__()
        self.config = config
        self.manifest = manifest
        self.store = store
        self.place = store.shown
        self._say = say
        self._spool: Spool | None = None
        self._sender: Sender | None = None
        self._system: SystemMetrics | None = None
        self._last_step = 0
        self._name, self._identity = "run", uuid.uuid4().hex

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        """Mark the run as finished, failed or interrupted, and send the rest as far as it can be sent."""
        if self._spool is None or self._sender is None:
            return
        if self._system is not None:
            self._system.stop()
        interrupted = kind is not None and issubclass(kind, (KeyboardInterrupt, TrainingInterrupted))
        status = "FINISHED" if kind is None else "KILLED" if interrupted else "FAILED"
        self._append("end", status=status, time=_now())
        try:
            self._sender.finish(PATIENCE if kind is None else PATIENCE_AFTER_FAILURE)
        finally:  # A second Ctrl-C ends the waiting.
            self._close(self._spool, self._sender)

    def started(self, name: str, identity: str) -> None:
        """Know the run, which may have been recorded in part before."""
        self._name, self._identity = name, identity

    def step(
        self, epoch: int, step: int, steps: int, loss: float, learning_rate: float | None = None, **more: float
    ) -> None:
        """Record what one optimizer update gave."""
        if self._spool is None:
            self._begin()
        self._last_step = (epoch - 1) * steps + step
        values = {"loss": loss, "learning_rate": learning_rate, **more}
        self._metrics(self._last_step, values)

    def epoch_done(self, report: EpochReport) -> None:
        """Record what one epoch gave; the step of these metrics is the epoch."""
        self._metrics(report.epoch, epoch_values(asdict(report)))

    def log_result(self, result: TrainResult) -> None:
        """Record the metrics of the model, the bundle's own files and, in a folder ``plots`` of it, the plots."""
        bundle = result.bundle
        for part in in_parts(recorded(bundle.section, ("val", "test")), METRICS_A_REQUEST):
            self._metrics(bundle.section["provenance"]["epochs_trained"], part)
        folder = bundle.path.resolve()
        self._metrics(self._last_step, {"best_epoch": result.best_epoch})
        self._append("files", path=str(folder), names=["config.json", *bundle.section["files"]], to="bundle")
        plots = sorted(path.name for path in (folder / "plots").glob("*") if path.is_file())
        if plots:
            self._append("files", path=str(folder / "plots"), names=plots, to="plots")

    def log_model(self, save: Callable[[Path], None]) -> None:
        """Record the servable model. It is kept with the records until the server has it."""
        if self._spool is None:
            return
        save(self._spool.folder / MODEL)
        self._append("model", path=MODEL, step=self._last_step)

    def _begin(self) -> None:
        folder = Path(self.config.output) / FOLDER / f"{self._name}-{self._identity[:6]}"
        self._spool = Spool.open(folder) if folder.is_dir() else Spool.create(folder, self.store.shown)
        experiment, tags = self.config.tracking.experiment, records.tags()
        self._append("run", id=self._identity, experiment=experiment, name=self._name, time=_now(), tags=tags)
        self._append("params", values=records.params(self.config))
        self._append("inputs", datasets=records.inputs(self.config, self.manifest))
        self._append("text", text=records.config_text(self.config), to="config.yaml")
        self._sender = Sender(Replay(self._spool, self.store), self._say)
        self._sender.start()
        if self.config.tracking.system_metrics:
            from flowercli.tracking.system import SystemMetrics

            self._system = SystemMetrics(self._metrics)
            self._system.start()

    def _metrics(self, step: int, values: dict[str, Any]) -> None:
        # JSON has neither NaN nor infinity; a loss that is one ends the run.
        known = {key: float(value) for key, value in values.items() if value is not None and math.isfinite(value)}
        self._append("metrics", time=_now(), step=step, values=known)

    def _append(self, kind: str, **fields: Any) -> None:
        if self._spool is None:
            return
        try:
            self._spool.append(kind, **fields)
        except OSError as error:
            # A full disk must not end a training run for the sake of its record.
            self.problems = [f"A part of the record could not be written: {error.strerror}."]

    def _close(self, spool: Spool, sender: Sender) -> None:
        self.problems += sender.replay.refused
        if sender.replay.receipt.ended and sender.trouble is None and not sender.is_alive():
            spool.remove()
            self.recorded_in = sender.replay.page
        else:
            spool.close()
            self.unsent = spool.folder
            self.trouble = reason(sender.trouble) if sender.trouble else ""


def open_tracking(config: TrainConfig, manifest: Manifest, say: Callable[[str], None]) -> NoTracking:
    """Return the listener that records a run, after checking that a store which the user named answers.

    Args:
        config: ``tracking`` says whether and where.
        manifest: the data of the run.
        say: told when the server stops answering, and when it answers again; from another thread.

    Raises:
        TrackingError: the store does not answer.
    """
    if config.tracking.name == "none":
        return NoTracking()
    # Here, where nothing else runs yet: it takes seconds.
    import_mlflow()
    store = Store.of_config(config)
    store.check(config.tracking.experiment)
    return Tracking(config, manifest, store, say)


def send_spool(folder: Path, uri: str | None) -> tuple[str, list[str]]:
    """Send the records that a run has left behind, and remove them when the server has all of them.

    Args:
        folder: as ``flowers train`` names it.
        uri: the store; the one that the run was to be recorded in by default.

    Returns:
        Where the records are now, and what could not be sent with them.

    Raises:
        TrackingError: there are no such records, or the store does not answer.
    """
    spool = Spool.open(folder)
    with contextlib.closing(spool):
        store = Store.named(uri or spool.receipt().uri, folder.parent.parent)
        replay = Replay(spool, store)
        replay.send_all()
        spool.remove()
    return store.shown, replay.refused


def _now() -> int:
    """Return the time in MLflow's milliseconds."""
    return int(time.time() * 1000)
