"""Parts of a batch: how many photographs each has, and which of them a process computes.

A batch is cut by ``batch_size`` and ``micro_batch`` alone, and its parts are dealt to however many processes there are:
so their number is no part of the result.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from flowercli.errors import UsageError

if TYPE_CHECKING:
    from flowercli.training.schema import TrainConfig


def part_sizes(photographs: int, most: int) -> list[int]:
    """Return the sizes of the parts of a batch, about equal, none larger than ``most``, and none of one photograph.

    Batch normalisation needs two: an odd batch in parts of two has one of three. Of an even batch all parts are even,
    because mixing makes pairs.
    """
    step = 2 - photographs % 2
    units = photographs // step
    fewest = 2 // step
    count = max(1, min(-(-units // max(most // step, 1)), units // fewest))
    return [step * (units // count + (number < units % count)) for number in range(count)]


@dataclass(frozen=True)
class Share:
    """The parts of each batch that one process computes.

    Args:
        sizes: photographs of each of all parts.
        first: number of its first part, from 0 on.
        end: number behind its last one.
    """

    sizes: Sequence[int]
    first: int
    end: int

    @classmethod
    def of(cls, config: TrainConfig, rank: int = 0, processes: int = 1) -> Self:
        """Return the share of a process; the shares differ by one part at most."""
        sizes = part_sizes(config.batch_size, config.micro_batch or config.batch_size)
        first, end = (len(sizes) * each // processes for each in (rank, rank + 1))
        return cls(sizes, first, end)

    @property
    def positions(self) -> range:
        """Where its photographs are in a batch."""
        edges = self._edges()
        return range(edges[self.first], edges[self.end])

    @property
    def parts(self) -> dict[int, slice]:
        """Where each of its parts is among its photographs, by number."""
        edges = self._edges()
        start = edges[self.first]
        return {each: slice(edges[each] - start, edges[each + 1] - start) for each in range(self.first, self.end)}

    def _edges(self) -> list[int]:
        return [0, *itertools.accumulate(self.sizes)]


def require_parts(config: TrainConfig, processes: int, *, begun: bool = False) -> None:
    """Refuse more processes than a batch has parts.

    Args:
        config: the run's.
        processes: how many there are to be.
        begun: the run has begun, and keeps its parts.

    Raises:
        UsageError: some would have nothing to do.
    """
    count = len(Share.of(config).sizes)
    if count >= processes:
        return
    size = config.batch_size
    parts = "one part" if count == 1 else f"{count} parts"
    message = f"{processes} processes compute parts of a batch, and a batch of {size} is {parts} here."
    if begun:
        raise UsageError(message, hint=f"A run keeps its parts: go on with it in {count} processes, or fewer.")
    if size < 2 * processes:
        raise UsageError(message, hint=f"No part has fewer than 2 photographs: --batch-size {2 * processes}, or more.")
    tried = (part_sizes(size, most) for most in range(size // processes + 1, 1, -1))
    most = next(max(sizes) for sizes in tried if len(sizes) >= processes)
    hint = (
        f"Say how many photographs a part has at most: micro_batch={most}. Each part has batch statistics and pairs of "
        "its own, so what is learnt depends on that; on the number of processes it does not."
    )
    raise UsageError(message, hint=hint)
