"""Whether downloads that are cut, killed, or run twice at once end whole, and what they fetch twice.

python benchmarks/cut_downloads.py [--count 200] [--megabytes 16] [--only cut|kill|two]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from support.archive_server import Answer, Shared, archive_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALLOWED = 0.05
CUTS = 4
# What the system holds for a process is lost with it, whatever a client does. On loopback that grows to 6 MB, a third
# of the file, if the machine is busy and the client slow; here it is kept to what a network would have under way.
CLIENT = """
import socket, sys
class SmallBuffer(socket.socket):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
socket.socket = SmallBuffer
from pathlib import Path
from flowercli.cli.download_progress import DownloadProgress
from flowercli.transfer.contract import Wanted
from flowercli.transfer.fetch import fetch
print("started", flush=True)
fetch(Wanted(sys.argv[1], sha256=sys.argv[3]), Path(sys.argv[2]), DownloadProgress())
"""


def main() -> None:
    """Run the three kinds of trouble, each so many times, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--megabytes", type=int, default=16)
    parser.add_argument("--only", choices=KINDS, help="one kind of trouble")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    content = os.urandom(arguments.megabytes * 1_000_000)
    for title, download in KINDS.items():
        if arguments.only not in (None, title):
            continue
        again = [one(content, download) for _ in range(arguments.count)]
        verdict = "good" if max(again) <= ALLOWED else "BAD"
        whole = f"{arguments.count} downloads, all whole"
        twice = f"{max(again):.2%} at most, {sum(again) / len(again):.2%} on average"
        print(f"{title:12} {whole}; fetched twice: {twice}: {verdict}", flush=True)


def one(content: bytes, download: Callable[[Shared, Path, str], None]) -> float:
    """Download once in a folder of its own; return the share of bytes that the server sent more than once.

    Raises:
        RuntimeError: the file is not the right one, or something else was seen under its name.
    """
    with tempfile.TemporaryDirectory() as folder, archive_server({"/file": content}) as server:
        target = Path(folder) / "file"
        # 64 kB in 2 ms: a network, not a memory copy, so that little is under way when a client dies.
        server.usual = Answer(pause=0.002)
        with watched(target, len(content)) as seen:
            download(server, target, hashlib.sha256(content).hexdigest())
        if seen or target.read_bytes() != content:
            message = f"wrong file, or sizes seen under its name: {seen}"
            raise RuntimeError(message)
        return server.sent / len(content) - 1


def cut(server: Shared, target: Path, sha256: str) -> None:
    """One client whose connection is cut several times, at any byte."""
    server.plan = random_cuts(len(server.files["/file"]))
    with client(server, target, sha256) as process:
        process.wait()


def killed(server: Shared, target: Path, sha256: str) -> None:
    """Clients that are killed at any moment, until one is left alone."""
    length = len(server.files["/file"]) / 65536 * 0.002
    for _ in range(random.randint(1, 3)):
        with client(server, target, sha256) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(random.uniform(0, length))
            process.send_signal(signal.SIGKILL)
    with client(server, target, sha256) as process:
        process.wait()


def two_at_once(server: Shared, target: Path, sha256: str) -> None:
    """Two clients that start together, and whose connections are cut."""
    server.plan = random_cuts(len(server.files["/file"]))
    with client(server, target, sha256) as first, client(server, target, sha256) as second:
        if first.wait() or second.wait():
            message = "a client failed"
            raise RuntimeError(message)


def random_cuts(length: int) -> list[Answer]:
    """Return answers that end too early, wherever."""
    cuts = random.randint(1, CUTS)
    return [Answer(cut_after=random.randrange(-1, length // cuts), pause=0.001) for _ in range(cuts)]


@contextmanager
def client(server: Shared, target: Path, sha256: str) -> Iterator[subprocess.Popen[str]]:
    """Start a client."""
    command = [sys.executable, "-c", CLIENT, server.url("/file"), str(target), sha256]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield process


@contextmanager
def watched(target: Path, length: int) -> Iterator[list[int]]:
    """Look at the final name all the time; yields the wrong sizes that were seen there."""
    seen: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            if target.exists() and (size := target.stat().st_size) != length:
                seen.append(size)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


KINDS = {"cut": cut, "kill": killed, "two": two_at_once}


if __name__ == "__main__":
    main()
