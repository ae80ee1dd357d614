"""Waiting for what a process is to have done, and not for a time: on a busy machine everything takes longer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Looks in a row that find a process asleep, and seconds between two of them.
LOOKS, PAUSE = 10, 0.05


def wait_until(true: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until it is true; fail where that takes longer."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(PAUSE)


def wait_until_asleep(pid: int) -> None:
    """Wait until no thread of a process has anything to do: it waits for input, or for somebody else."""
    looks = 0

    def asleep() -> bool:
        nonlocal looks
        looks = looks + 1 if {_of_stat(each)[0] for each in Path(f"/proc/{pid}/task").iterdir()} == {"S"} else 0
        return looks == LOOKS

    wait_until(asleep)


def wait_until_worked(pid: int, seconds: float) -> None:
    """Wait until a process has computed for so many seconds from now on."""
    enough = _computed(pid) + 100 * seconds
    wait_until(lambda: _computed(pid) >= enough)


def _computed(pid: int) -> int:
    """Return the hundredths of a second that it has computed."""
    fields = _of_stat(Path(f"/proc/{pid}"))
    return int(fields[11]) + int(fields[12])


def _of_stat(folder: Path) -> list[str]:
    """Return the fields of ``stat`` that follow the name."""
    return (folder / "stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
