"""Running statistics of batch normalisation over the parts of a batch: the mean of what each part would make of them.

Parts are computed in any order and by several processes, so each starts from the statistics before the step, and their
changes are added up, weighted by the photographs of the part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


def precise(device: torch.device) -> torch.dtype:
    """Return the type that sums are of: Apple's GPUs have no double precision."""
    return torch.float32 if device.type == "mps" else torch.float64


class BatchStatistics:
    """The statistics of a model's layers that learn, at one step.

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
