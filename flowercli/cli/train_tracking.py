"""Tracking on the command line: the servable model that is recorded, and what is said of records left behind."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.atomic import scratch_folder
from flowercli.bundle import ONNX
from flowercli.cli.output import note, warn
from flowercli.errors import needs_extra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowercli.bundle import Bundle
    from flowercli.data.manifest import Manifest
    from flowercli.tracking.listener import NoTracking
    from flowercli.training.run import TrainResult
    from flowercli.training.schema import TrainConfig


@contextmanager
def tracked(config: TrainConfig, manifest: Manifest) -> Iterator[NoTracking]:
    """Yield the listener that records a run, and say afterwards if anything of the record is not where it belongs."""
    with needs_extra("train"):
        from flowercli.tracking.listener import open_tracking

        tracking = open_tracking(config, manifest, note)
    try:
        with tracking:
            yield tracking
    finally:
        for problem in tracking.problems:
            warn(problem)
        if tracking.unsent is not None:
            warn(f"The tracking server does not have all of this run. {tracking.trouble}".strip())
            send = shlex.join(["flowers", "track", str(tracking.unsent)])
            note(f"The rest is kept in {tracking.unsent}. Send it: {send}")
        elif tracking.recorded_in:
            note(f"Recorded in {tracking.recorded_in}{_how_to_see(tracking.recorded_in)}")


def log_result(tracking: NoTracking, result: TrainResult) -> None:
    """Record the bundle and a model that MLflow can serve."""
    tracking.log_result(result)
    try:
        tracking.log_model(lambda folder: _save_servable(result.bundle, folder))
    except Exception as error:  # noqa: BLE001  (torch's exporter raises anything; the bundle is there)
        warn(f"The tracked run has no servable model: {error}")


def _how_to_see(uri: str) -> str:
    return f". See it: mlflow ui --backend-store-uri {shlex.quote(uri)}" if uri.startswith("sqlite:") else "."


def _save_servable(bundle: Bundle, folder: Path) -> None:
    from flowercli.export.graph import export_fp32
    from flowercli.serving.mlflow_save import save_mlflow_model

    with scratch_folder("servable") as temporary:
        onnx = temporary / ONNX
        export_fp32(bundle, onnx)
        save_mlflow_model(onnx, folder)
