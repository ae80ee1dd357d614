"""Send the records of a spool to an MLflow store, in order, so that each arrives exactly once.

A batch is sent, then the receipt is signed. What was sent but not signed is sent again, which changes
nothing: MLflow keeps one of several equal metrics, parameters and inputs, files are overwritten, and
runs and models are looked for before they are made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli.errors import TrackingError
from flowercli.mlflow_quietly import import_mlflow
from flowercli.tracking.spool import Receipt
from flowercli.tracking.store import Store, reason
from flowercli.transfer.clock import within

if TYPE_CHECKING:
    from flowercli.tracking.spool import Spool

    Record = dict[str, Any]

RUN_TAG = "flowers.run"
MODEL_NAME = "flowers"
# Or MLflow's pages open what they have for language models instead of the runs.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
RECORDS_A_BATCH = 400
# MLflow's own limits of a request.
METRICS_A_REQUEST = 1000
PARAMS_A_REQUEST = 100
# For one of them, by whoever waits for nothing else; a model is a large file.
REQUEST_SECONDS = 600.0
# Errors that stay however often a request is repeated.
HOPELESS = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST"})


class Replay:
    """One spool on its way to one store.

    ``refused`` says what the store does not take.
    """

    def __init__(self, spool: Spool, store: Store) -> None:
        self.spool = spool
        self.store = store
        self.refused: list[str] = []
        receipt = spool.receipt()
        # Another store starts from the first record.
        self.receipt = receipt if receipt.uri == store.shown else Receipt(store.shown)
        self._experiment_id: str | None = None
        self._send: dict[str, Callable[[Record], None]] = {
            "run": self._begin,
            "params": self._params,
            "inputs": self._inputs,
            "text": self._text,
            "files": self._files,
            "model": self._model,
            "end": self._end,
        }

    @cached_property
    def client(self) -> Any:
        """The client, made by the thread that uses it: a new SQLite store takes seconds to make."""
        return self.store.client()

    @property
    def page(self) -> str:
        """Where the run can be looked at, as far as that is known."""
        if self._experiment_id is None or self.receipt.run_id is None:
            return self.store.shown
        return self.store.page_of(self._experiment_id, self.receipt.run_id)

    def send_all(self) -> None:
        """Send what is left, now.

        Raises:
            TrackingError: the store does not answer, or answers with an error.
        """
        try:
            while within(REQUEST_SECONDS, self.send_next):
                pass
            if not self.receipt.ended:
                # Whoever wrote the records was killed before it could say how the run ended.
                killed = {"status": "KILLED", "time": self.spool.written_last()}
                within(REQUEST_SECONDS, lambda: self._end(killed))
        except Exception as error:  # requests, SQLAlchemy, MLflow: they have no common base.
            message = f"The tracking server {self.store.shown} does not take the records: {reason(error)}"
            raise TrackingError(message, hint="What it has is remembered: the same command sends the rest.") from error

    def send_next(self) -> bool:
        """Send what comes next, if anything does, and sign for it. Whatever the client raises is passed on."""
        batch = self.spool.read(self.receipt.offset, RECORDS_A_BATCH)
        if not batch:
            return False
        first = batch[0][0]
        metrics = _metrics_at_the_head([record for record, _ in batch])
        try:
            if metrics:
                self._metrics(metrics)
            else:
                self._send[first["kind"]](first)
        except import_mlflow().MlflowException as error:
            if self._run_is_gone(error):
                self.receipt = Receipt(self.receipt.uri)
                return True
            if error.error_code not in HOPELESS or first["kind"] == "run":
                raise
            self._miss(f"The tracking server refuses {first['kind']}: {reason(error)}")
        self.receipt.offset = batch[max(len(metrics), 1) - 1][1]
        self.spool.sign(self.receipt)
        return True

    def _miss(self, what: str) -> None:
        # A record that is sent a second time misses the same things again.
        if what not in self.refused:
            self.refused.append(what)

    def _run_is_gone(self, error: Exception) -> bool:
        """Tell whether the server came back without what it had: then everything is sent anew."""
        mlflow = import_mlflow()
        if self.receipt.run_id is None or getattr(error, "error_code", None) != "RESOURCE_DOES_NOT_EXIST":
            return False
        try:
            self.client.get_run(self.receipt.run_id)
        except mlflow.MlflowException as missing:
            return bool(missing.error_code == "RESOURCE_DOES_NOT_EXIST")
        return False

    def _begin(self, record: Record) -> None:
        self._experiment_id = experiment = self._experiment(record["experiment"])
        if known := find_run(self.client, experiment, record["id"]):
            self.receipt.run_id = known.info.run_id
            # A run that had ended goes on.
            self.receipt.ended = False
            self.client.update_run(self.receipt.run_id, status="RUNNING")
            return
        tags = record["tags"] | {RUN_TAG: record["id"]}
        run = self.client.create_run(experiment, start_time=record["time"], tags=tags, run_name=record["name"])
        self.receipt.run_id = run.info.run_id

    def _experiment(self, name: str) -> str:
        known = self.client.get_experiment_by_name(name)
        if known:
            return str(known.experiment_id)
        return str(self.client.create_experiment(name, self.store.artifacts, tags=EXPERIMENT_TAGS))

    def _params(self, record: Record) -> None:
        from mlflow.entities import Param

        params = [Param(key, value) for key, value in record["values"].items()]
        for start in range(0, len(params), PARAMS_A_REQUEST):
            self.client.log_batch(self.receipt.run_id, params=params[start : start + PARAMS_A_REQUEST])

    def _inputs(self, record: Record) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        datasets = []
        for entry in record["datasets"]:
            fields = {key: value for key, value in entry.items() if key != "context"}
            datasets.append(DatasetInput(Dataset(**fields), [InputTag("mlflow.data.context", entry["context"])]))
        self.client.log_inputs(self.receipt.run_id, datasets)

    def _metrics(self, records: list[Record]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(key, value, record["time"], record["step"])
            for record in records
            for key, value in record["values"].items()
        ]
        self.client.log_batch(self.receipt.run_id, metrics=metrics)

    def _text(self, record: Record) -> None:
        self.client.log_text(self.receipt.run_id, record["text"], record["to"])

    def _files(self, record: Record) -> None:
        for name in record["names"]:
            path = Path(record["path"]) / name
            if path.is_file():
                self.client.log_artifact(self.receipt.run_id, str(path), record["to"])
            else:
                self._miss(f"{path} is no longer there.")

    def _model(self, record: Record) -> None:
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        folder = self.spool.folder / record["path"]
        run = self.client.get_run(self.receipt.run_id)
        experiment = run.info.experiment_id
        made_by = f"source_run_id = '{run.info.run_id}'"
        known = self.client.search_logged_models([experiment], filter_string=made_by)
        model = known[0] if known else self.client.create_logged_model(experiment, MODEL_NAME, run.info.run_id)
        description = Model.load(str(folder))
        description.model_id, description.run_id = model.model_id, run.info.run_id
        description.save(str(folder / "MLmodel"))
        self.client.log_model_artifacts(model.model_id, str(folder))
        self.client.finalize_logged_model(model.model_id, "READY")
        self.client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=record["step"])])

    def _end(self, record: Record) -> None:
        self.client.set_terminated(self.receipt.run_id, record["status"], record["time"])
        self.receipt.ended = True


def find_run(client: Any, experiment_id: str, identity: str) -> Any:
    """Return the run of an experiment that was made of the run of this identity; ``None`` if there is none."""
    found = client.search_runs([experiment_id], f"tags.`{RUN_TAG}` = '{identity}'", max_results=1)
    return found[0] if found else None


def _metrics_at_the_head(records: list[Record]) -> list[Record]:
    """Return the metrics that come before anything else, as many as one request may hold."""
    head: list[Record] = []
    size = 0
    for record in records:
        size += len(record.get("values", ()))
        if record["kind"] != "metrics" or size > METRICS_A_REQUEST:
            break
        head.append(record)
    return head
