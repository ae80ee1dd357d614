"""How this process was started: alone, or as one of several that train one model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self

from flowercli.errors import UsageError

# What torchrun tells each process that it starts.
RANK, SIZE, LOCAL_RANK, LOCAL_SIZE = "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"
MACHINES, RESTARTS = "GROUP_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT"


@dataclass(frozen=True)
class Launch:
    """Which of the processes of a run this is.

    Args:
        rank: number of this one, from 0 on; the first alone writes and speaks.
        size: how many there are.
        local_rank: number of this one among those of this machine.
        local_size: how many there are on this machine.
        torchrun: whether torchrun, or what sets the same variables, started it.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    torchrun: bool = False

    @classmethod
    def of_environment(cls) -> Self:
        """Read what torchrun says of this process; without torchrun it is alone.

        Raises:
            UsageError: a variable is no number.
        """
        if not {RANK, SIZE} <= os.environ.keys():
            return cls()
        try:
            local = int(os.environ.get(LOCAL_RANK, "0")), int(os.environ.get(LOCAL_SIZE, "1"))
            return cls(int(os.environ[RANK]), int(os.environ[SIZE]), *local, torchrun=True)
        except ValueError as error:
            names = f"{RANK}, {SIZE}, {LOCAL_RANK}, {LOCAL_SIZE}"
            raise UsageError(f"{names}: {error}.", hint="torchrun sets them, to whole numbers.") from error

    @property
    def leads(self) -> bool:
        """Whether it is the first one."""
        return self.rank == 0

    def typed(self, command: str) -> str:
        """Return what to type to have a command of ``flowers`` run by as many processes."""
        if self.torchrun:
            return f"torchrun … -m flowercli {command.removeprefix('flowers ')}"
        return command if self.size == 1 else f"{command} --processes {self.size}"


def attempt() -> str:
    """Return a name for what torchrun has started now, which is another after a restart.

    On one machine it gives all attempts one store, with the addresses of processes that are no more; on several, which
    may have restarted at different times, each its own.
    """
    return os.environ.get(RESTARTS, "0") if os.environ.get(MACHINES) == "1" else "0"


def forget_environment() -> None:
    """Take torchrun's variables away: accelerate, and processes that this one starts, are not to act on them."""
    for name in (RANK, SIZE, LOCAL_RANK, LOCAL_SIZE):
        os.environ.pop(name, None)
