"""Add what ``flowers eval`` measured to the MLflow run that made the bundle."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowercli.tracking.records import final_metrics, in_parts
from flowercli.tracking.replay import METRICS_A_REQUEST, find_run
from flowercli.tracking.store import URI_VARIABLE, Store
from flowercli.training.run_folder import IDENTITY
from flowercli.transfer.clock import within

if TYPE_CHECKING:
    from flowercli.bundle import Bundle
    from flowercli.evaluation.evaluate import Evaluation

SECONDS = 60.0
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def store_of(bundle: Bundle) -> Store | None:
    """Return the store that a bundle's run may be found in; ``None`` where none is known.

    A bundle may be anybody's: of the places that it names, none but this machine is asked, or strangers would learn
    the password that MLflow sends. Others the user names in ``MLFLOW_TRACKING_URI``.
    """
    if not IDENTITY.fullmatch(str(bundle.section.get("provenance", {}).get("run"))):
        return None
    if uri := os.environ.get(URI_VARIABLE):
        return Store.named(uri, bundle.path.parent)
    tracking = bundle.section["provenance"].get("config", {}).get("tracking", {})
    uri = tracking.get("uri") if isinstance(tracking, dict) else None
    if isinstance(uri, str) and urlsplit(uri).scheme in {"http", "https"} and urlsplit(uri).hostname in LOOPBACK:
        return Store(uri)
    beside = Store.beside(bundle.path.parent)
    return beside if beside.is_there else None


def record_evaluation(evaluation: Evaluation) -> str | None:
    """Add the metrics of an evaluation to the run that made the bundle.

    Returns:
        Where the run is shown; ``None`` where there is no such run that can be found.

    Raises:
        Exception: of requests, SQLAlchemy or MLflow, where the store does not answer.
    """
    store = store_of(evaluation.bundle)
    return None if store is None else within(SECONDS, lambda: _record(evaluation, store))


def _record(evaluation: Evaluation, store: Store) -> str | None:
    client, provenance = store.client(), evaluation.bundle.section["provenance"]
    experiment = client.get_experiment_by_name(provenance["config"]["tracking"]["experiment"])
    run = experiment and find_run(client, experiment.experiment_id, provenance["run"])
    if not run:
        return None
    values: dict[str, float] = {}
    for variant, metrics in evaluation.variants.items():
        values |= final_metrics(evaluation.split, metrics, variant)
    for part in in_parts(values, METRICS_A_REQUEST):
        client.log_batch(run.info.run_id, metrics=_metrics(part, int(provenance["epochs_trained"])))
    return store.page_of(run.info.experiment_id, run.info.run_id)


def _metrics(values: dict[str, float], step: int) -> list[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(key, value, now, step) for key, value in values.items()]
