"""``flowers serve-mlflow``: MLflow's own server, for a model or for the records of runs."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowercli.cli.options import DEFAULT_MODEL, AllowHost
from flowercli.cli.output import note
from flowercli.errors import UsageError, needs_extra

if TYPE_CHECKING:
    import socket

    from flowercli.serving.hosts import Hosts
    from flowercli.tracking.store import Store

HOST, PORT = "127.0.0.1", 8080


def serve_mlflow(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            show_default=DEFAULT_MODEL,
            help="A name from `flowers models`, a bundle, an MLflow model's folder or URI (runs:/…, models:/…).",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 is every one of this machine.")] = HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = PORT,
    allow_host: AllowHost = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with the model.")] = 1,
    tracking: Annotated[
        bool, typer.Option("--tracking", help="Serve the records of runs instead, with MLflow's pages about them.")
    ] = False,
    tracking_uri: Annotated[
        str | None,
        typer.Option(help="MLflow's store of runs; what MLFLOW_TRACKING_URI says, or the file in --runs."),
    ] = None,
    runs: Annotated[Path, typer.Option(metavar="FOLDER", help="Where `flowers train` puts its runs.")] = Path("runs"),
) -> None:
    """Serve a model with MLflow's scoring server, or the records of runs with its tracking server.

    POST /invocations takes pictures as base64 text and answers as `flowers classify --json` does. GET /ping answers
    when the model is loaded and warm. Nothing but this machine reaches either server unless --host says so.
    """
    if tracking and (model is not None or workers != 1):
        raise UsageError("--model and --workers do not go with --tracking.")
    with needs_extra("serve"):
        if find_spec("mlflow") is None:  # Importing it would take a second, of a process that has no use for it.
            raise ModuleNotFoundError(name="mlflow")
        from flowercli.serving.hosts import Hosts
        from flowercli.serving.mlflow.server import stopping_cleanly
        from flowercli.serving.sockets import bind
        from flowercli.tracking.store import URI_VARIABLE, Store
    uri = tracking_uri or os.environ.get(URI_VARIABLE)
    store = Store.named(uri, runs) if uri else Store.beside(runs)
    hosts = Hosts.of(host, allow_host or ())
    with stopping_cleanly(), bind(host, port, "flowers serve-mlflow") as taken:
        if tracking:
            _serve_runs(store, taken, hosts)
        else:
            _serve_model(model, store, taken, workers, hosts)


def _serve_model(model: str | None, store: Store, taken: socket.socket, workers: int, hosts: Hosts) -> None:
    from flowercli.cli.serve import tell_connections
    from flowercli.serving.connections import MAX_CONNECTIONS
    from flowercli.serving.mlflow.server import serve
    from flowercli.serving.mlflow.source import is_uri, served
    from flowercli.serving.sockets import url_of

    if is_uri(model):
        store.require_records()
    tell_connections(MAX_CONNECTIONS)
    with served(model, store.uri) as (path, name):
        address = url_of(taken)
        serve(path, taken, workers, hosts, lambda: note(f"Serving {name} at {address}/invocations"))
    note("Stopped.")


def _serve_runs(store: Store, taken: socket.socket, hosts: Hosts) -> None:
    from flowercli.serving.sockets import url_of
    from flowercli.tracking.server import runs_address, serve_tracking

    store.require_records()
    address = url_of(taken)
    serve_tracking(store, taken, hosts, lambda: note(f"The runs of {store.shown} are at {runs_address(address)}"))
