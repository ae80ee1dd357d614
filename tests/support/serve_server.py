"""A real ``flowers serve`` on loopback, and a client that shows what comes back."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES, command

for package in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
    pytest.importorskip(package, reason="needs the extra 'serve'")

PICTURE = (SAMPLES / "rose.jpg").read_bytes()
READY = re.compile(r"Ready: (http://\S+)")
START_SECONDS = 120
BOUNDARY = "boundary-of-the-tests"
HTML = b"<!doctype html><title>flowers</title>"
JPEG = {"Content-Type": "image/jpeg"}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @cached_property
    def json(self):
        return json.loads(self.body)

    def problem(self):
        """Return status and code, of an error in the form that all have."""
        assert self.headers["Content-Type"] == "application/problem+json"
        assert len(self.body) < 1000
        assert self.json["status"] == self.status
        return self.status, self.json["code"]


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self.port = 0
        self.memory_when_ready = 0.0

    @property
    def text(self) -> str:
        return self.log.read_text()

    def lines(self):
        """Return the lines of the access log."""
        found = [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]
        return [line for line in found if "path" in line]

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if found := READY.search(self.text):
                self.port = int(found[1].rpartition(":")[2])
                return
            assert self.process.poll() is None, self.text
            time.sleep(0.02)
        pytest.fail(f"the server does not start: {self.text}")

    def connect(self, timeout=30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None) -> Reply:
        """Send one request on a connection of its own."""
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def classify(self, body, headers=None, query="") -> Reply:
        return self.ask("POST", "/v1/classify" + query, body, headers or JPEG)

    def memory(self) -> float:
        """Return the resident memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def end(self, number=signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(120)


@contextmanager
def serving(folder: Path, *arguments: object, wrap=lambda *line: list(line), **environment: str):
    """Run ``flowers serve`` on a free port until the end of the block; ``wrap`` is what runs it."""
    log = folder / "serve.log"
    line = wrap(*command("serve", "--port", 0, *arguments))
    with log.open("wb") as stream:
        process = subprocess.Popen(line, stderr=stream, stdout=stream, cwd=ROOT, env={**os.environ, **environment})
    server = Server(process, log)
    try:
        server.wait_until_ready()
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def form(*files, field="file") -> bytes:
    """Return a form with these files: pairs of name and content."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])
