"""A real ``flowers serve-mlflow`` on loopback."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT, command

pytest.importorskip("mlflow", reason="needs the extra 'serve'")
psutil = pytest.importorskip("psutil", reason="needs the extra 'train'")

if TYPE_CHECKING:
    from pathlib import Path

JSON = {"Content-Type": "application/json"}


class Server:
    """A server in processes of its own; ``log`` is what it wrote on stderr."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                command("serve-mlflow", "--port", 0, *arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr
            )
        for _ in range(3000):
            found = re.search(r"at http://127\.0\.0\.1:(\d+)", log.read_text())
            if found:
                self.port = int(found[1])
                return
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.1)
        pytest.fail("the server does not start")

    def ask(self, body: object, headers: dict[str, str] = JSON, method: str = "POST", path: str = "/invocations"):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body if isinstance(body, bytes) else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read()

    def predictions(self, body: object) -> list[dict]:
        status, answer = self.ask(body)
        assert status == 200, answer
        return json.loads(answer)["predictions"]

    def workers(self):
        alive = [child for child in psutil.Process(self.process.pid).children() if child.status() != "zombie"]
        return [child for child in alive if "spawn_main" in str(child.cmdline())]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the server and return its exit code, once every process that belonged to it is gone."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(number)
        assert self.process.communicate(timeout=30)[0] == b""
        _, alive = psutil.wait_procs(family, timeout=20)
        for process in alive:
            process.kill()
        assert alive == []
        return self.process.returncode
