"""MLflow's tracking server and its pages, on a store of runs."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowercli.errors import ServingError
from flowercli.mlflow_quietly import SETTINGS
from flowercli.serving.mlflow.server import tell_when_answering
from flowercli.serving.sockets import url_of
from flowercli.tracking.store import Store, runs_page

if TYPE_CHECKING:
    import socket

    from flowercli.serving.hosts import Hosts

# Without the workers of MLflow's own jobs, which these records do not need, and its warnings about its own code.
QUIETLY = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
STOP_SECONDS = 10
# For its first answer.
SECONDS = 10
# What MLflow takes instead of our names, if the user says so.
HOSTS_VARIABLE = "MLFLOW_SERVER_ALLOWED_HOSTS"
OCTETS = ("[0-9]", "[0-9][0-9]", "[0-9][0-9][0-9]")
NETWORKS = ("10", "192.168", *(f"172.{second}" for second in range(16, 32)))
# Private addresses, and no name that begins like one, as a stranger's may that points at this machine.
PRIVATE = (
    *(".".join((net, *rest)) for net in NETWORKS for rest in itertools.product(OCTETS, repeat=3 - net.count("."))),
    "[fc00:*",
    "[fd00:*",
)


def serve_tracking(store: Store, taken: socket.socket, hosts: Hosts, ready: Callable[[], None]) -> None:
    """Run the server until it ends or an exception, which is what a signal is, ends this function.

    Args:
        store: a database; not a server.
        taken: the bound socket of the address to serve at; closed before the server takes it over.
        hosts: the names that it answers to; and private addresses, if it listens to all.
        ready: called when it answers.

    Raises:
        ServingError: the store is a server itself, or the server ended by itself.
    """
    if store.uri.startswith(("http:", "https:")):
        raise ServingError(f"{store.shown} is a tracking server already.", hint=f"Open it: {store.shown}")
    address, (host, port) = url_of(taken), taken.getsockname()[:2]
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    # Or uvicorn would take modules from the working folder.
    command += ["--backend-store-uri", store.uri, "--uvicorn-opts", shlex.join(["--app-dir", sys.prefix])]
    if store.artifacts:
        command += ["--artifacts-destination", store.artifacts]
    if HOSTS_VARIABLE not in os.environ:
        # MLflow's patterns are of the whole header, with the port; of addresses it knows those with brackets.
        names = [name if ":" not in name else f"[{name}]" for name in hosts.names]
        patterns = [*names, *(PRIVATE if hosts.any_address else ())]
        command += ["--allowed-hosts", ",".join(f"{name},{name}:*" for name in patterns)]
    taken.close()
    stop = threading.Event()
    # In a session of its own a Ctrl-C reaches it once, from here.
    environment = {**SETTINGS, **os.environ, **QUIETLY}
    process = subprocess.Popen(  # noqa: S603  (our own words)
        command,
        stdout=sys.stderr,  # Its log.
        env=environment,
        start_new_session=True,
    )
    tell_when_answering(f"{address}/health", ready, stop)
    try:
        code = process.wait()
    finally:
        stop.set()
        _end(process)
    raise ServingError(f"MLflow's tracking server ended by itself, with code {code}.")


def runs_address(address: str) -> str:
    """Return where a server that answers shows the runs of the experiment that was changed last.

    What is at its root, and at an experiment without more, is not about runs.
    """
    wanted = {"max_results": 1, "order_by": ["last_update_time DESC"], "filter": "name != 'Default'"}
    request = urllib.request.Request(  # noqa: S310  (our own address)
        f"{address}/api/2.0/mlflow/experiments/search",
        json.dumps(wanted).encode(),
        {"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError, ValueError, LookupError, http.client.HTTPException):
        with opener.open(request, timeout=SECONDS) as answer:
            (experiment,) = json.load(answer)["experiments"]
        return address + runs_page(experiment["experiment_id"])
    return f"{address}/#/experiments"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
