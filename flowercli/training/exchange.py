"""What the processes of a run tell each other at each step, in one all-reduce.

There is no wrapper around the model: a step is computed in parts, anew where the memory was too small, and then what
all parts gave is added up. One vector holds who failed, who was asked to stop, the loss, the changes of batch
statistics, and the gradients of all that the optimizer has, so of the projection of the contrastive loss as well.
Sums over parts are of double precision, where the device has it: rounded once at the end, they are the same in whatever
order the parts come. In single precision a gradient that is nothing but rounding would be another one, and Adam divides
each by its own size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from flowercli.training.process_group import LostProcess, ProcessGroup

if TYPE_CHECKING:
    from flowercli.training.loading import Batch


FAILED = (1.0, 0.0, 0.0)


def precise(device: torch.device) -> torch.dtype:
    """Return the type that sums are of: Apple's GPUs have no double precision."""
    return torch.float32 if device.type == "mps" else torch.float64


class BatchStatistics:
    """The running statistics of batch normalisation in the layers that learn, at one step.

    Parts are computed in any order and by several processes, so each starts from the statistics before the step, and
    their changes are added up, weighted by the photographs of the part.

    ``changes`` ``[K]``, in double precision where the device has it, is what the parts so far add to them.
    """

    def __init__(self, model: nn.Module) -> None:
        # Any: all kinds of normalisation that keep statistics have these buffers, and no type in common.
        layers: list[Any] = [layer for layer in model.modules() if layer.training]
        layers = [layer for layer in layers if getattr(layer, "running_mean", None) is not None]
        self._running: list[Tensor] = [each for layer in layers for each in (layer.running_mean, layer.running_var)]
        self._counts: list[Tensor] = [layer.num_batches_tracked for layer in layers]
        self._nothing = torch.zeros(0, device=next(model.parameters()).device)
        self._before, self._counts_before = self._values(), [count.clone() for count in self._counts]
        self.changes = torch.zeros_like(self._before, dtype=precise(self._before.device))

    def forget(self) -> None:
        """Begin the step anew."""
        self.changes.zero_()

    def begin_part(self) -> None:
        """Go back to the statistics before the step."""
        self._set(self._before)
        for count, before in zip(self._counts, self._counts_before, strict=True):
            count.copy_(before)

    def end_part(self, share: float) -> None:
        """Note what a part with this share of the batch made of them."""
        self.changes += share * (self._values() - self._before)

    def apply(self) -> None:
        """Set them to what all parts make of them."""
        self._set((self._before + self.changes).to(self._before.dtype))

    def _values(self) -> Tensor:
        return torch.cat([self._nothing, *(each.flatten() for each in self._running)])

    def _set(self, values: Tensor) -> None:
        for each, value in zip(
            self._running, torch.split(values, [each.numel() for each in self._running]), strict=True
        ):
            each.copy_(value)


class Exchange:
    """Adds up over all processes what each computed of a step; one that is alone has nothing to add.

    Args:
        group: the processes.
        model: whose batch statistics change.
        optimizer: whose parameters learn.
    """

    def __init__(self, group: ProcessGroup, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.group, self.model, self.optimizer = group, model, optimizer
        self._sums: list[Tensor | None] = []

    def forget(self) -> None:
        """Begin the step anew."""
        self._sums = []

    def keep(self) -> None:
        """Add the gradients of a part to those of the parts before it."""
        learning = self._learning()
        before = self._sums or [None] * len(learning)
        self._sums = [_plus(total, each.grad) for total, each in zip(before, learning, strict=True)]
        self.optimizer.zero_grad()

    def each(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield this process's shares of batches.

        Raises:
            Exception: what went wrong with them, on each process.
        """
        iterator = iter(batches)
        while True:
            with self.telling_failure():
                batch = next(iterator, None)
            if batch is None:
                return
            yield batch

    @contextmanager
    def telling_failure(self) -> Iterator[None]:
        """Let all processes end with what goes wrong in the block, instead of waiting for this one.

        Raises:
            Exception: what went wrong.
        """
        try:
            yield
        except Exception as error:
            if self.group.size > 1:
                self._fail(error)
            raise

    def add_up(self, loss: float, statistics: BatchStatistics, *, stop: bool) -> tuple[float, bool]:
        """Leave in the gradients and the statistics the sums over the parts of all processes.

        Args:
            loss: this process's share of it.
            statistics: what its parts changed.
            stop: whether it was asked to stop.

        Returns:
            The loss of the batch, and whether any process was asked to stop.

        Raises:
            Exception: what went wrong on another process.
        """
        learning = self._learning()
        head, present, changes, *gradients = self._summed((0.0, float(stop), loss), statistics.changes, learning)
        failed, stopped, total = head.tolist()
        if failed:
            self.group.raise_first(None)
        statistics.changes.copy_(changes)
        for parameter, there, gradient in zip(learning, present.tolist(), gradients, strict=True):
            if there:  # What no part has a gradient for, the optimizer is to leave alone.
                parameter.grad = torch.empty_like(parameter).copy_(gradient.view_as(parameter))
        return total, stopped > 0

    def _fail(self, error: Exception) -> None:
        """Take part in the sum of this step, which nobody will use, and say why."""
        try:
            self._summed(FAILED, BatchStatistics(self.model).changes, self._learning())
            self.group.raise_first(error)
        except LostProcess:
            raise error from None

    def _learning(self) -> list[nn.Parameter]:
        return [each for group in self.optimizer.param_groups for each in group["params"] if each.requires_grad]

    def _summed(self, head: Sequence[float], changes: Tensor, learning: Sequence[nn.Parameter]) -> Sequence[Tensor]:
        """Return the sums of the head, of who has which gradient, of the changes, and of each gradient, flat."""
        sums = self._sums or [None] * len(learning)
        gradients = [
            changes.new_zeros(each.numel()) if total is None else total
            for total, each in zip(sums, learning, strict=True)
        ]
        heads = torch.tensor(
            [*head, *(total is not None for total in sums)], dtype=changes.dtype, device=changes.device
        )
        vector = torch.cat([heads, changes, *gradients])
        if self.group.size > 1:
            self.group.add_up(vector)
        return torch.split(vector, [len(head), len(sums), len(changes), *(each.numel() for each in learning)])


def _plus(total: Tensor | None, gradient: Tensor | None) -> Tensor | None:
    if gradient is None:
        return total
    more = gradient.flatten().to(precise(gradient.device))
    return more if total is None else total + more
