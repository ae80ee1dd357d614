"""Tracking on the command line: where a run is recorded, and what is said of records left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.cli.output import note, warn
from flowercli.cli.progress import waiting
from flowercli.cli.train_arguments import DEFAULT_OUTPUT
from flowercli.errors import needs_extra
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from flowercli.data.manifest import Manifest
    from flowercli.evaluation.evaluate import Evaluation
    from flowercli.tracking.listener import NoTracking
    from flowercli.training.schema import TrainConfig


@contextmanager
def tracked(config: TrainConfig, manifest: Manifest) -> Iterator[NoTracking]:
    """Yield the listener that records a run, and say afterwards if anything of the record is not where it belongs."""
    with waiting("Loading MLflow") if config.tracking.name != "none" else nullcontext(), needs_extra("train"):
        from flowercli.tracking.listener import open_tracking

        tracking = open_tracking(config, manifest, note)
    note(f"Record in MLflow: {tracking.place}")
    try:
        with tracking:
            yield tracking
    finally:
        for problem in tracking.problems:
            warn(problem)
        if tracking.unsent is not None:
            warn(f"The tracking server does not have all of this run. {tracking.trouble}".strip())
            note(f"The rest is kept in {tracking.unsent}. Send it: flowers track {in_shell(tracking.unsent)}")
        elif tracking.recorded_in:
            note(f"Recorded in {tracking.recorded_in}")
            if tracking.recorded_in.startswith("sqlite:"):
                note(f"See it: {_how_to_see(config, tracking.recorded_in)}")


def add_to_run(evaluation: Evaluation) -> None:
    """Record an evaluation in the run that made the bundle, where that can be found; nothing depends on it."""
    try:
        with needs_extra("train"):
            from flowercli.tracking.evaluation import record_evaluation

            page = record_evaluation(evaluation)
    except Exception as error:  # noqa: BLE001  (requests, SQLAlchemy, MLflow; the metrics are in the bundle)
        from flowercli.tracking.store import reason

        note(f"The metrics could not be added to the record of the run: {reason(error)}")
    else:
        if page is not None:
            note(f"Added to the record of the run: {page}")


def _how_to_see(config: TrainConfig, uri: str) -> str:
    from flowercli.tracking.store import Store

    serve = "flowers serve-mlflow --tracking"
    if uri != Store.beside(Path(config.output)).uri:
        return f"{serve} --tracking-uri {in_shell(uri)}"
    return serve if config.output == DEFAULT_OUTPUT else f"{serve} --runs {in_shell(config.output)}"
