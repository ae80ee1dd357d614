"""Archives and bare files served on loopback, and what the tests of downloads share."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import socket
import tarfile
import threading
import time
from pathlib import Path

import pytest
from conftest import write_dataset
from support.archive_server import Answer, archive_server

from flowercli.transfer.contract import Patience

PATH = "/colours.tar.gz"
CLASSES = ["blue", "green", "reds"]
# Not a multiple of anything that the program or the server counts in.
LENGTH = 1_234_567


class Listener:
    """Takes note of what it is told."""

    def __init__(self):
        self.retries = []
        self.waited = threading.Event()

    def waiting(self):
        self.waited.set()

    def begin(self, done, total):
        assert total is None or done <= total

    def advance(self, count):
        assert count > 0

    def retry(self, fault, seconds):
        self.retries.append((fault.message, seconds))


def packed(folder, prefix="colours"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder, prefix)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return packed(write_dataset(tmp_path_factory.mktemp("packed") / "colours", photos=5))


@pytest.fixture(scope="module")
def sha256(archive):
    return hashlib.sha256(archive).hexdigest()


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """Give each test a data directory of its own, and no proxy but its own."""
    monkeypatch.setenv("FLOWERS_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def server(archive):
    with archive_server({PATH: archive}) as shared:
        yield shared


@pytest.fixture(scope="module")
def content():
    return random.Random(0).randbytes(LENGTH)


@pytest.fixture
def bare(content):
    """Serve a file of random bytes, for what concerns the transfer alone."""
    with archive_server({"/file": content}) as shared:
        yield shared


def patient(retries=3):
    """Wait as little as can be: what is waited for is on this machine."""
    return Patience(retries=retries, timeout=5, longest_wait=0.02)


def visible(folder):
    return sorted(path.name for path in Path(folder).glob("*") if not path.name.startswith("."))


def raw(head, endless=b"", pause=0.0):
    """Serve an answer byte for byte, and what comes again and again after it; yields the address and what was sent."""
    sent = []

    def answer(connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            asked = connection.recv(65536)
            sent.append(asked)
            if b" /there" in asked:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                return
            connection.sendall(head)
            while endless:
                connection.sendall(endless)
                sent.append(endless)
                time.sleep(pause)
            connection.shutdown(socket.SHUT_WR)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

    @contextlib.contextmanager
    def serving():
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/file", sent
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()

    listening = socket.create_server(("127.0.0.1", 0))
    return serving()


@pytest.fixture
def big(tmp_path):
    """Serve a dataset slowly, 64 kB in 10 ms: yields the server and the sha256."""
    photos = write_dataset(tmp_path / "photos", photos=2)
    for position, name in enumerate(CLASSES):
        (photos / name / "notes.bin").write_bytes(random.Random(position).randbytes(1_000_000))
    content = packed(photos)
    with archive_server({"/big.tar": content}) as shared:
        shared.usual = Answer(pause=0.01)
        yield shared, hashlib.sha256(content).hexdigest()
