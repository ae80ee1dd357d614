"""Attack a real ``flowers serve`` in the ways that strangers know, while a good client asks ten times a second.

python benchmarks/attacks.py [--mlflow] [--seconds 8] [--only "40 megapixels"]

Each attack meets a server of its own. The first row is without one: on a machine that does something else too, the
others are to be compared with it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from attackers import ATTACKS, PICTURE, Target
from load import percentiles
from measured import flowers

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE = 10
# What the rows may not be above: milliseconds, MiB, MiB more than before.
WORST_MS = 1000
MOST = 600
NOT_BACK = 64
# Later answers are no answers.
TIMEOUT = 10.0
START_SECONDS = 120
READY = re.compile(r"(?:Ready:|Serving .* at) http://127\.0\.0\.1:(\d+)")
RIGHT = re.compile(rb'\AHTTP/1.1 200 .*"predicted_class": ?"rose"', re.DOTALL)
NONE = "no attack"
TITLES = ("attack", "right", "p50 ms", "p99 ms", "before", "most", "after", "opened")


@dataclass(frozen=True)
class Row:
    """What an attack did: seconds of each answer, endless where it was not right, and MiB of the server."""

    attack: str
    latencies: list[float]
    before: float
    most: float
    after: float
    opened: int
    tracebacks: int

    def broken(self) -> list[str]:
        """Return which limits it breaks."""
        limits = {
            "p99": percentiles(self.latencies)["p99"] >= WORST_MS,
            "memory": not self.most <= MOST,
            "not back": not self.after <= self.before + NOT_BACK,
            f"{self.tracebacks} tracebacks": self.tracebacks > 0,
        }
        return [name for name, is_broken in limits.items() if is_broken]

    def cells(self) -> list[str]:
        """Return what is printed."""
        right = f"{sum(map(math.isfinite, self.latencies))}/{len(self.latencies)}"
        times = percentiles(self.latencies)
        numbers = (times["p50"], times["p99"], self.before, self.most, self.after, self.opened)
        return [self.attack, right, *(f"{number:.0f}" for number in numbers)]


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self.port = self._wait()
        # Those that answer: of MLflow's server not the one that watches over its workers.
        below = psutil.Process(process.pid).children()
        workers = [child.pid for child in below if not any("resource_tracker" in part for part in child.cmdline())]
        self.answering = workers or [process.pid]

    def _wait(self) -> int:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            if found := READY.search(self.log.read_text()):
                return int(found[1])
            time.sleep(0.05)
        raise RuntimeError(f"the server does not start: {self.log.read_text()}")

    def memory(self, field: str = "VmRSS") -> float:
        """Return the resident memory in MiB, or with ``VmHWM`` the most since it was forgotten; NaN of the dead."""
        try:
            texts = [Path(f"/proc/{number}/status").read_text() for number in self.answering]
            return sum(int(re.search(rf"{field}:\s+(\d+)", text)[1]) for text in texts) / 1024  # type: ignore[index]
        except (OSError, TypeError):
            return math.nan

    def forget_most(self) -> None:
        """Let the most begin with what is held now."""
        for number in self.answering:
            Path(f"/proc/{number}/clear_refs").write_text("5")


@contextlib.contextmanager
def serving(*, mlflow: bool) -> Iterator[Server]:
    """Run a server as its user would, on a free port; all of it is gone at the end."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = flowers("serve-mlflow" if mlflow else "serve", "--port", 0)
        with log.open("wb") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=folder, start_new_session=True)
        try:
            yield Server(process, log)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def ask(port: int, request: bytes, seconds: float) -> list[float]:
    """Ask at the rate, each time on a connection of its own, and return the seconds from when it was due."""
    started = time.perf_counter()
    tasks = []
    for number in range(round(RATE * seconds)):
        due = started + number / RATE
        await asyncio.sleep(due - time.perf_counter())
        tasks.append(asyncio.create_task(ask_once(port, request, due)))
    return await asyncio.gather(*tasks)


async def ask_once(port: int, request: bytes, due: float) -> float:
    """Return the seconds of one answer; endless, if it is not the right one."""
    answer = b""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                writer.write(request)
                answer = await reader.read()
    return time.perf_counter() - due if RIGHT.match(answer) else math.inf


@contextlib.contextmanager
def attacker(attack: str, port: int, seconds: float, *, mlflow: bool) -> Iterator[subprocess.Popen[str]]:
    """Start an attacker that waits for a line of stdin."""
    name = Path(__file__).with_name("attackers.py")
    command = [sys.executable, name, attack, str(port), str(seconds), *(["--mlflow"] if mlflow else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def measured(attack: str, seconds: float, after: float, *, mlflow: bool) -> Row:
    """Attack a new server, and return what it did."""
    with serving(mlflow=mlflow) as server, contextlib.ExitStack() as stack:
        request = Target(server.port, mlflow=mlflow).about(PICTURE)
        other = None if attack == NONE else attacker(attack, server.port, seconds, mlflow=mlflow)
        process = stack.enter_context(other) if other else None
        asyncio.run(ask(server.port, request, 2))
        before = server.memory()
        server.forget_most()
        if process and process.stdin:
            process.stdin.write("go\n")
            process.stdin.flush()
        latencies = asyncio.run(ask(server.port, request, seconds))
        opened = int(process.stdout.readline() or 0) if process and process.stdout else 0
        time.sleep(after)
        tracebacks = server.log.read_text(errors="replace").count("Traceback")
        return Row(attack, latencies, before, server.memory("VmHWM"), server.memory(), opened, tracebacks)


def main() -> int:
    """Print a row for each attack, and which break the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mlflow", action="store_true", help="attack `flowers serve-mlflow` instead")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--after", type=float, default=5, help="seconds until memory is looked at again")
    parser.add_argument("--only", action="append", choices=ATTACKS)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    there = [name for name, attack in ATTACKS.items() if attack.anywhere or not arguments.mlflow]
    print(" | ".join(TITLES), flush=True)
    rows = []
    for name in (NONE, *(name for name in there if arguments.only is None or name in arguments.only)):
        rows.append(measured(name, arguments.seconds, arguments.after, mlflow=arguments.mlflow))
        print(" | ".join(rows[-1].cells()), flush=True)
    breaking = {row.attack: row.broken() for row in rows if row.broken()}
    for name, limits in breaking.items():
        print(f"breaks a limit: {name}: {', '.join(limits)}")
    return 1 if breaking else 0


if __name__ == "__main__":
    sys.exit(main())
