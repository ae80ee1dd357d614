"""All that ``flowers train`` does once torch is there: train, ask about the test photographs, draw, record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.atomic import scratch_folder
from flowercli.bundle import ONNX, Bundle
from flowercli.errors import FlowersError
from flowercli.evaluation.bundle_data import bundle_data
from flowercli.evaluation.evaluate import evaluate_bundle, record
from flowercli.training import run
from flowercli.training.listeners import Listener, together

if TYPE_CHECKING:
    from flowercli.data.manifest import Manifest
    from flowercli.tracking.listener import NoTracking
    from flowercli.training.process_group import ProcessGroup
    from flowercli.training.run import TrainResult
    from flowercli.training.run_folder import RunFolder
    from flowercli.training.schema import TrainConfig


def train(
    config: TrainConfig, manifest: Manifest, tracking: NoTracking, watcher: Listener, group: ProcessGroup
) -> TrainResult:
    """Train a model, measure it on the test photographs, draw its figures, and record all of it.

    Args:
        config: what is wanted.
        manifest: the split, as :func:`flowercli.training.run_data.find_or_make_manifest` returns it.
        tracking: what :func:`flowercli.tracking.listener.open_tracking` returned, entered.
        watcher: told of everything.
        group: the processes that train, of which this is the first; the rest it does alone.

    Raises:
        As :func:`flowercli.training.run.train`. What is not the bundle costs no run: the watcher is told.
    """
    return _finish(config, run.train(config, manifest, together(watcher, tracking), group), tracking, watcher)


def resume(folder: RunFolder, tracking: NoTracking, watcher: Listener, group: ProcessGroup) -> TrainResult:
    """Go on with an unfinished run, and finish it as :func:`train` does.

    Raises:
        As :func:`flowercli.training.run.resume`.
    """
    return _finish(folder.config, run.resume(folder, together(watcher, tracking), group), tracking, watcher)


def _finish(config: TrainConfig, result: TrainResult, tracking: NoTracking, watcher: Listener) -> TrainResult:
    result = replace(result, bundle=_ask_test(result.bundle, watcher))
    if config.plots:
        _draw(result, watcher)
    if tracking.records:
        _record(result, tracking, watcher)
    return result


def _ask_test(bundle: Bundle, watcher: Listener) -> Bundle:
    """Measure a finished model on the test photographs, once and when nothing is left to decide."""
    data = bundle_data(bundle, None)
    if not any(data.manifest.counts("test").values()):
        return bundle
    watcher.phase("Asking about the test photographs")
    try:
        evaluation = evaluate_bundle(bundle, data, "test", watcher.advance)
        with scratch_folder("test") as scratch:
            return record(evaluation, scratch)
    except (FlowersError, OSError) as error:
        watcher.warn(f"The test photographs could not be asked about: {error}")
        return bundle


def _draw(result: TrainResult, watcher: Listener) -> None:
    """Write the figures of a run beside its bundle's files; a run is not lost for a figure."""
    watcher.phase("Drawing the figures")
    try:
        from flowercli.reporting.plot_files import write_plots

        evaluation = evaluate_bundle(result.bundle, bundle_data(result.bundle, None), "val", watcher.advance)
        write_plots(result.bundle.path, result.history, evaluation)
    except Exception as error:  # noqa: BLE001  (matplotlib raises anything; the bundle is whole)
        watcher.warn(f"The figures could not be drawn: {error}")


def _record(result: TrainResult, tracking: NoTracking, watcher: Listener) -> None:
    """Record the bundle and a model that MLflow can serve."""
    watcher.phase("Recording the metrics, the bundle and a model that MLflow can serve")
    tracking.log_result(result)
    try:
        tracking.log_model(_saving_servable(result.bundle))
    except Exception as error:  # noqa: BLE001  (torch's exporter raises anything; the bundle is there)
        watcher.warn(f"The tracked run has no servable model: {error}")


def _saving_servable(bundle: Bundle) -> Callable[[Path], None]:
    from flowercli.export.graph import export_fp32
    from flowercli.serving.mlflow.save import save_mlflow_model

    def save(folder: Path) -> None:
        with scratch_folder("servable") as temporary:
            export_fp32(bundle, temporary / ONNX)
            save_mlflow_model(temporary / ONNX, folder)

    return save
