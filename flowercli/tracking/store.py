"""Which MLflow store a run is recorded in, and whether it answers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from flowercli.atomic import new_file
from flowercli.errors import TrackingError
from flowercli.locks import alone
from flowercli.mlflow_quietly import import_mlflow
from flowercli.transfer.clock import within

if TYPE_CHECKING:
    from flowercli.training.schema import TrainConfig

URI_VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE = "mlflow.db"
SQLITE = "sqlite:///"
ARTIFACTS = "mlartifacts"
# What means something in a URI.
SPECIAL = frozenset("%?#")
# For the first answer of a server: MLflow's own timeout is for each silence.
CHECK_SECONDS = 60.0


@dataclass(frozen=True)
class Store:
    """An MLflow store.

    ``artifacts`` is where it keeps files, if it is for us to say; ``given`` whether the user named it, rather
    than that it is the one beside the runs.
    """

    uri: str
    artifacts: str | None = None
    given: bool = True

    @classmethod
    def beside(cls, output: Path) -> Self:
        """Return the store in the folder of the runs."""
        folder = output.resolve()
        return cls(_sqlite(folder / DATABASE), (folder / ARTIFACTS).as_uri(), given=False)

    @classmethod
    def named(cls, uri: str, output: Path) -> Self:
        """Return the store at a URI, which may be that of the store beside the runs of ``output``."""
        own = cls.beside(output)
        return own if uri == own.uri else cls(uri)

    @classmethod
    def of_config(cls, config: TrainConfig) -> Self:
        """Return the store of a run: the configured one, else ``MLFLOW_TRACKING_URI``, else one beside the runs.

        Raises:
            TrackingError: the configured URI holds a password, which would end up in the bundle.
        """
        uri = config.tracking.uri or os.environ.get(URI_VARIABLE)
        if not uri:  # Set to nothing, the variable says nothing.
            return cls.beside(Path(config.output))
        if config.tracking.uri and _without_password(uri) != uri:
            hint = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead."
            raise TrackingError("The tracking URI holds a password, and is written into every bundle.", hint=hint)
        return cls(uri)

    @property
    def shown(self) -> str:
        """The URI as it may be shown and written."""
        return _without_password(self.uri)

    @property
    def is_there(self) -> bool:
        """Whether a store in a file is there; servers are not asked."""
        database = _file_of(self.uri)
        return database is None or database.is_file()

    def page_of(self, experiment_id: str, run_id: str) -> str:
        """Return the address of a run's page, or the store's URI where it has no pages."""
        return self.shown + runs_page(experiment_id, run_id) if self.uri.startswith("http") else self.shown

    def client(self) -> Any:
        """Return an ``MlflowClient``; one process at a time makes a database, and it has its name when it is whole."""
        mlflow, database = import_mlflow(), _file_of(self.uri)
        if database is None or database.exists():
            return mlflow.MlflowClient(self.uri)
        with alone(database):
            if not database.exists():
                with new_file(database) as temporary:
                    mlflow.MlflowClient(_sqlite(temporary))
            return mlflow.MlflowClient(self.uri)

    def check(self, experiment: str) -> None:
        """See that the store answers and takes runs of the experiment; a store of our own is not made yet.

        Raises:
            TrackingError: it does not.
        """
        if not self.given:
            return
        try:
            client = self.client()
            known = within(CHECK_SECONDS, lambda: client.get_experiment_by_name(experiment))
        except Exception as error:  # requests, SQLAlchemy, MLflow: they have no common base.
            message = f"The tracking server {self.shown} does not answer: {reason(error)}"
            raise TrackingError(message, hint=self._how_to_get_it()) from error
        if known is not None and known.lifecycle_stage == "deleted":
            message = f"The experiment '{experiment}' of {self.shown} is deleted."
            raise TrackingError(message, hint="Record into another one: tracking.experiment=NAME")

    def require_records(self) -> None:
        """See that a store in a file is there; MLflow would make an empty one.

        Raises:
            TrackingError: it is not.
        """
        if not self.is_there:
            message = f"There are no records of runs at {self.uri}."
            hint = "flowers train makes some; another folder of runs: --runs FOLDER, another store: --tracking-uri URI"
            raise TrackingError(message, hint=hint)

    def _how_to_get_it(self) -> str:
        parts = urlsplit(self.uri)
        if parts.hostname not in {"127.0.0.1", "localhost"}:
            return "Train without it: flowers train tracking=none …"
        start = f"mlflow server --host {parts.hostname} --port {parts.port or 80}"
        return f"Start it: {start}\nor train without it: flowers train tracking=none …"


def runs_page(experiment_id: str, run_id: str | None = None) -> str:
    """Return where MLflow's pages show the runs of an experiment, or one of them; at the root is something else."""
    one = "" if run_id is None else f"/{run_id}"
    return f"/#/experiments/{experiment_id}/runs{one}?workflowType=machine_learning"


def reason(error: Exception) -> str:
    """Return an error in one line of bearable length; those of HTTP libraries nest and repeat themselves."""
    text = " ".join(str(error).split()) or type(error).__name__
    for words in ("Connection refused", "timed out", "Name or service not known", "No route to host"):
        if words in text:
            return f"{words}."
    return text if len(text) <= 200 else f"{text[:200]}…"  # noqa: PLR2004  (two lines of a terminal)


def _sqlite(path: Path) -> str:
    """Return the URI of a database.

    Raises:
        TrackingError: SQLAlchemy cannot spell its path.
    """
    uri = f"{SQLITE}{path.as_posix()}"
    if SPECIAL.isdisjoint(uri):  # Without SQLAlchemy, which takes a while to import.
        return uri
    from sqlalchemy import URL, make_url

    # Some of its versions quote what others take as it is. After sqlite:///, MLflow would make the folders, quoted.
    uri = URL.create("sqlite+pysqlite", database=path.as_posix()).render_as_string()
    if make_url(uri).database != path.as_posix():
        message = f"MLflow cannot keep records in {path.parent}: its name holds one of {' '.join(sorted(SPECIAL))}"
        raise TrackingError(message, hint="Choose another folder: --output FOLDER; or: flowers train tracking=none …")
    return uri


def _file_of(uri: str) -> Path | None:
    """Return the file of a database in one; ``None`` for other stores."""
    if not uri.startswith("sqlite") or uri.endswith(":memory:"):
        return None
    if uri.startswith(SQLITE) and SPECIAL.isdisjoint(uri):
        return Path(uri.removeprefix(SQLITE))
    from sqlalchemy import make_url

    url = make_url(uri)
    return None if url.query or not url.database else Path(url.database)


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
