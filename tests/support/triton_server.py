"""A real Triton server on loopback: the binary of the package ``nvidia-pytriton``, in an environment of its own.

That package wants numpy 1 and this project numpy 2, so the two cannot share one; and a server that lacks this project
is what the model repository has to get along with. ``nox -s triton`` makes it and names its Python in FLOWERS_TRITON.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ENVIRONMENT = "FLOWERS_TRITON"
ASK = "import sysconfig as s; print(s.get_path('purelib'), s.get_config_var('LIBDIR'), s.get_python_version())"
START_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """Where a running server answers, and where it writes its log."""

    http: str
    grpc: str
    log: Path


def server_python() -> Path:
    """Return the Python of the environment with the server, or skip."""
    python = os.environ.get(ENVIRONMENT)
    if not python or not Path(python).is_file():
        pytest.skip(f"{ENVIRONMENT} does not name a Python with nvidia-pytriton: nox -s triton")
    return Path(python)


@contextmanager
def running(repository: Path, folder: Path):
    """Serve a repository; ``folder`` takes the log and the backend for the environment's version of Python."""
    python = server_python()
    packages, library, version = subprocess.check_output([python, "-c", ASK], text=True).split()
    triton = Path(packages) / "pytriton" / "tritonserver"
    ports = free_ports(2)
    arguments = {
        "model-repository": repository,
        "backend-directory": python_backend(triton, version, folder / "backends"),
        "allow-metrics": "false",
        "http-address": "127.0.0.1",
        "http-port": ports[0],
        "grpc-address": "127.0.0.1",
        "grpc-port": ports[1],
        "exit-timeout-secs": 5,
    }
    environment = {
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "PYTHONPATH": packages,
        "LD_LIBRARY_PATH": f"{packages}/nvidia_pytriton.libs:{library}",
    }
    log = folder / "server.log"
    server = Server(f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}", log)
    # The configurations have to be complete.
    command = [triton / "bin" / "tritonserver", "--disable-auto-complete-config"]
    command += [f"--{name}={value}" for name, value in arguments.items()]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process:
        try:
            wait_until_ready(server, process)
            yield server
        finally:
            process.terminate()


def python_backend(triton: Path, version: str, backends: Path) -> Path:
    """Put the Python backend together as a Triton image holds it; the package keeps a stub for each Python."""
    folder = backends / "python"
    folder.mkdir(parents=True)
    for file in ("libtriton_python.so", "triton_python_backend_utils.py"):
        (folder / file).symlink_to(triton / "backends" / "python" / file)
    stub = "triton_python_backend_stub"
    (folder / stub).symlink_to(triton / "python_backend_stubs" / version / stub)
    return backends


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def wait_until_ready(server: Server, process: subprocess.Popen) -> None:
    """Wait until all models are loaded, or fail with what the server wrote."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{server.http}/v2/health/ready", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    pytest.fail(f"Triton did not start:\n{server.log.read_text(errors='replace')}")
