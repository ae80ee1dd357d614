"""What the processes that train one model tell each other.

Tensors go by gloo on CPUs and by NCCL between GPUs, which is not tested; everything else goes by gloo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Self, TypeVar

import psutil
import torch
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from flowercli.errors import DeviceError, TrainingError
from flowercli.shown import first_line
from flowercli.training.device import share_cores
from flowercli.training.launch import Launch, attempt, forget_environment

T = TypeVar("T")
# One waits for another at most, while millions of photographs are checked, say. That one has ended is noticed at once.
PATIENCE = timedelta(hours=6)


class LostProcess(TrainingError):  # noqa: N818  (what happened, to another)
    """Another process of the run ended before its time."""


@dataclass(frozen=True)
class ProcessGroup(Launch):
    """All processes of a run, as one of them sees them. One that is alone has nobody to ask, and never waits."""

    @classmethod
    def of(cls, launch: Launch) -> Self:
        """Return the group of processes that torchrun started, once all of them are there.

        Raises:
            LostProcess: they cannot reach each other, or one of them ended.
        """
        group = cls(**asdict(launch))
        if group.size > 1:
            with _telling_how_they_miss_each_other():
                store = next(rendezvous("env://", group.rank, group.size, timeout=PATIENCE))[0]
            group.connect(PrefixStore(attempt(), store))
        forget_environment()
        return group

    def connect(self, store: Any) -> None:
        """Wait until all processes are there.

        Args:
            store: torch's, where each says how it can be reached.

        Raises:
            LostProcess: they cannot reach each other, or one of them ended.
        """
        share_cores(self.local_size)
        backend = "gloo"
        if torch.cuda.is_available():
            backend = "cpu:gloo,cuda:nccl"
            torch.cuda.set_device(self.local_rank % torch.cuda.device_count())
        with _telling_how_they_miss_each_other():
            distributed.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=PATIENCE)

    def leave(self) -> None:
        """End the connections, after which another group may be made in this process."""
        if self.size > 1:
            distributed.destroy_process_group()

    def require_device(self, kind: str) -> None:
        """See that each process has a device of its own.

        Raises:
            DeviceError: that is not so.
        """
        if self.size == 1 or kind == "cpu":
            return
        if kind != "cuda":
            raise DeviceError(f"Several processes train on cpu or cuda, not on {kind}.", hint="device=cpu")
        if (count := torch.cuda.device_count()) < self.local_size:
            message = f"{self.local_size} processes want a GPU each, and this machine has {count}."
            raise DeviceError(message, hint=f"Start {count} processes a machine, or give device=cpu.")

    def add_up(self, values: Tensor) -> None:
        """Replace values by their sum over all processes, the same on each, bit for bit.

        Raises:
            LostProcess: one of them ended.
        """
        with _telling_loss():
            distributed.all_reduce(values)

    def from_first(self, value: T) -> T:
        """Return what the first process has.

        Raises:
            LostProcess: one of them ended.
        """
        if self.size == 1:
            return value
        objects = [value]
        with _telling_loss():
            distributed.broadcast_object_list(objects, src=0)
        return objects[0]

    def gathered(self, value: T) -> list[T]:
        """Return what each process has, by rank, to the first one; to others nothing.

        Raises:
            LostProcess: one of them ended.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size if self.leads else []
        with _telling_loss():
            distributed.gather_object(value, values if self.leads else None, dst=0)
        return values

    def together(self, work: Callable[[], T]) -> T:
        """Do something that each process does with its share, and return its result.

        Raises:
            Exception: what went wrong on the first process on which something did, on each of them.
            LostProcess: one of them ended.
        """
        if self.size == 1:
            return work()
        try:
            result = work()
        except Exception as error:
            self.raise_first(error)
            raise
        self.raise_first(None)
        return result

    def raise_first(self, failure: Exception | None) -> None:
        """Let each process say what went wrong with it, if anything.

        Raises:
            Exception: the first of them by rank, on each process.
            LostProcess: one of them ended.
        """
        told: list[Any] = [None] * self.size
        with _telling_loss():
            distributed.all_gather_object(told, None if failure is None else _parts_of(failure))
        for rank, parts in enumerate(told):
            if parts is not None:
                raise (failure if rank == self.rank and failure is not None else _rebuilt(*parts))


ALONE = ProcessGroup()


def _parts_of(error: Exception) -> tuple[type[Exception], tuple[Any, ...], dict[str, Any]]:
    """Take an error apart: an exception loses its shape on its way between processes."""
    return type(error), error.args, {name: value for name, value in vars(error).items() if name in {"message", "hint"}}


def _rebuilt(kind: type[Exception], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> Exception:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(attributes)
    return error


@contextmanager
def _telling_loss() -> Iterator[None]:
    """Turn what gloo says of a connection that has gone into an error of ours."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcess("Another process of this run ended before its time.") from error


@contextmanager
def _telling_how_they_miss_each_other() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        message = f"The processes of this run cannot reach each other: {first_line(error).rstrip('.')}."
        raise LostProcess(message, hint="One may have ended, or torchrun's address, or a network, be wrong.") from error


def loopback() -> str:
    """Return the name of the network interface that leads nowhere but to this machine."""
    found = psutil.net_if_addrs().items()
    return next((name for name, addresses in found if any(each.address == "127.0.0.1" for each in addresses)), "lo")
