"""Run a command as a whole process and measure it: wall seconds, CPU seconds, peak memory."""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Measured:
    """One finished process; ``peak`` in MiB."""

    wall: float
    cpu: float
    peak: float


def flowers(*arguments: object) -> list[str]:
    """Return the command line of the program in this environment."""
    return [sys.executable, "-m", "flowercli", *map(str, arguments)]


def measure(command: list[str]) -> Measured:
    """Run a command, its output thrown away, and measure it.

    Raises:
        RuntimeError: it failed.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        message = f"{command} exited with {process.returncode}"
        raise RuntimeError(message)
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def in_turn(commands: dict[str, list[str]], runs: int) -> dict[str, list[Measured]]:
    """Measure commands in turn, after one run of each that does not count."""
    for command in commands.values():
        measure(command)
    rounds = [[measure(command) for command in commands.values()] for _ in range(runs)]
    return {name: [measured[number] for measured in rounds] for number, name in enumerate(commands)}


def spread(values: list[float], unit: str = "") -> str:
    """Return the median with minimum and maximum."""
    return f"{statistics.median(values):.3g}{unit} ({min(values):.3g} to {max(values):.3g})"


@contextlib.contextmanager
def linked(photos: Path, count: int) -> Iterator[Path]:
    """Yield a folder of ``count`` links to the photographs below a folder, each as often as it takes."""
    found = sorted(photos.resolve().rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as folder:
        for number, photo in enumerate(itertools.islice(itertools.cycle(found), count)):
            (Path(folder) / f"{number:05}.jpg").symlink_to(photo)
        yield Path(folder)
