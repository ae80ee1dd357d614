"""A real MLflow server on loopback."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from flowercli.mlflow_quietly import import_mlflow

if TYPE_CHECKING:
    from pathlib import Path


class Server:
    """A real MLflow server on loopback that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self) -> None:
        arguments = ("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1", "--artifacts-destination")
        stores = (str(self.folder / "files"), "--backend-store-uri", f"sqlite:///{self.folder}/server.db")
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *arguments, *stores],
                env=environment, start_new_session=True, cwd=self.folder, stdout=log, stderr=log,
            )  # fmt: skip
        for _ in range(3000):
            if self.answers():
                return
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.1)
        pytest.fail("the server does not start")

    def answers(self) -> bool:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            try:
                connection.request("GET", "/health")
                return connection.getresponse().read() == b"OK"
            except (OSError, http.client.HTTPException):
                return False

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    @property
    def client(self):
        return import_mlflow().MlflowClient(self.uri)
