"""Run MLflow's scoring server: take the port, start the workers, replace those that die, stop them all."""

from __future__ import annotations

import contextlib
import copy
import http.client
import json
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uvicorn.config import LOGGING_CONFIG, STARTUP_FAILURE, Config
from uvicorn.supervisors import Multiprocess

from flowercli.errors import ServingError
from flowercli.inference.cpu import THREADS_VARIABLE, available_cores
from flowercli.serving.connections import LimitedProtocol
from flowercli.serving.mlflow.app import HOSTS_VARIABLE, MODEL_VARIABLE
from flowercli.serving.parent import FORCE_SECONDS
from flowercli.serving.sockets import url_of

if TYPE_CHECKING:
    import socket

    from flowercli.serving.hosts import Hosts

APPLICATION = "flowercli.serving.mlflow.app:create"
# For requests that are in work when the server is told to stop.
DRAIN_SECONDS = 30
POLL_SECONDS = 0.05


@contextmanager
def stopping_cleanly() -> Iterator[None]:
    """Have SIGTERM end the block as an exception would, so that temporary folders are deleted."""

    def leave(*_: object) -> None:
        sys.exit(0)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(model: Path, taken: socket.socket, workers: int, hosts: Hosts, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or Ctrl-C, then let the workers finish what they have begun.

    Args:
        model: the folder of an MLflow model, or a lone ``.onnx``.
        taken: the bound socket; closed at the end.
        workers: processes, each with the model.
        hosts: the names that it answers to.
        ready: called when the first worker answers.

    Raises:
        ServingError: a worker cannot load the model; it has said why.
    """
    os.environ[MODEL_VARIABLE] = str(model)
    os.environ[HOSTS_VARIABLE] = json.dumps(asdict(hosts))
    os.environ.setdefault(THREADS_VARIABLE, str(max(1, available_cores() // workers)))
    config = Config(
        APPLICATION,
        factory=True,
        http=LimitedProtocol,
        ws="none",
        workers=workers,
        log_config=_log_to_stderr(),
        timeout_graceful_shutdown=DRAIN_SECONDS,
        server_header=False,
    )
    supervisor = Supervisor(config, [taken])
    tell_when_answering(f"{url_of(taken)}/ping", ready, supervisor.should_exit)
    with taken:
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise ServingError("The server did not start: the line above says why.")


class Supervisor(Multiprocess):
    """uvicorn's, which waits for its workers no longer than requests are given."""

    def join_all(self) -> None:
        """Wait, and end by force what is left: a process that is stopped does not end by itself."""
        until = time.monotonic() + DRAIN_SECONDS + FORCE_SECONDS
        for process in self.processes:
            process.process.join(max(0, until - time.monotonic()))
            if process.process.is_alive():
                process.kill()
        super().join_all()


def _log_to_stderr() -> dict[str, Any]:
    """Return uvicorn's configuration of logging, with what is asked on stderr too, and without its own life."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["handlers"]["access"]["stream"] = "ext://sys.stderr"
    config["loggers"]["uvicorn.error"]["level"] = "WARNING"
    return config


def tell_when_answering(address: str, ready: Callable[[], None], stop: threading.Event) -> None:
    """Call ``ready``, on a thread of its own, once an address answers; never if ``stop`` is set before."""
    # Not through a proxy that the environment may name.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def poll() -> None:
        while not stop.wait(POLL_SECONDS):
            with contextlib.suppress(OSError, http.client.HTTPException), opener.open(address, timeout=5):
                ready()
                return

    threading.Thread(target=poll, daemon=True).start()
