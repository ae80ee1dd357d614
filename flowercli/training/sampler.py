"""Which photographs an epoch draws, in which order, from any step of it on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from flowercli.training.randomness import ORDER, PICTURE, derive_seed


class Draw(NamedTuple):
    """One picture of an epoch: the position of its photograph in the dataset, and the seed of its augmentation."""

    photo: int
    seed: int


class EpochSampler(Sampler[Draw]):
    """Draws whole batches only: a last batch of one would break batch normalisation.

    Args:
        targets: class indices ``[N]`` of the photographs.
        batch_size: photographs a step.
        seed: the run's.
        order: ``shuffle``: each photograph once an epoch. ``balanced``: the classes take turns, so that small ones
            have pairs in each batch. ``square_root``: a class's share is that of the square root of its
            photographs (Mahajan et al., 2018), between the two; ``three_quarters``: of their power of 3/4.
        positions: which photographs of each batch this process has; by default all.
    """

    def __init__(
        self, targets: Sequence[int], batch_size: int, seed: int, order: str, positions: range | None = None
    ) -> None:
        self.targets = np.asarray(targets)
        self.batch_size = batch_size
        self.seed = seed
        self.order = order
        self.positions = range(batch_size) if positions is None else positions
        self.epoch, self.steps_done = 1, 0

    @property
    def steps(self) -> int:
        """Steps of a whole epoch."""
        return len(self.targets) // self.batch_size

    def set_position(self, epoch: int, steps_done: int = 0) -> None:
        """Choose the epoch (from 1 on) and how many of its steps to leave out."""
        self.epoch, self.steps_done = epoch, steps_done

    def __len__(self) -> int:
        return self.steps * len(self.positions)

    def __iter__(self) -> Iterator[Draw]:
        generator = np.random.default_rng(derive_seed(self.seed, ORDER, self.epoch))
        order = ORDERS[self.order](self.targets, generator)
        for step in range(self.steps_done, self.steps):
            for position in (step * self.batch_size + each for each in self.positions):
                yield Draw(int(order[position]), derive_seed(self.seed, PICTURE, self.epoch, position))


def shuffled(targets: npt.NDArray[np.int64], generator: np.random.Generator) -> list[int]:
    """Return each of the ``N`` indices once."""
    order: list[int] = generator.permutation(len(targets)).tolist()
    return order


def balanced(targets: npt.NDArray[np.int64], generator: np.random.Generator) -> list[int]:
    """Return ``N`` indices in which the classes take turns; a class that runs out starts over in a new order."""
    cycles = _cycles(targets, generator)
    turns = (cycles[turn] for _ in itertools.count() for turn in generator.permutation(len(cycles)))
    return [next(cycle) for cycle in itertools.islice(turns, len(targets))]


def by_power(exponent: float, targets: npt.NDArray[np.int64], generator: np.random.Generator) -> list[int]:
    """Return ``N`` indices, of each class in proportion to a power of the number of its photographs."""
    cycles = _cycles(targets, generator)
    shares = np.unique(targets, return_counts=True)[1] ** exponent
    turns = generator.choice(len(cycles), size=len(targets), p=shares / shares.sum())
    return [next(cycles[turn]) for turn in turns]


ORDERS: dict[str, Callable[[npt.NDArray[np.int64], np.random.Generator], list[int]]] = {
    "shuffle": shuffled,
    "balanced": balanced,
    "square_root": partial(by_power, 0.5),
    "three_quarters": partial(by_power, 0.75),
}


def _cycles(targets: npt.NDArray[np.int64], generator: np.random.Generator) -> list[Iterator[int]]:
    return [_endless(np.flatnonzero(targets == index), generator) for index in np.unique(targets)]


def _endless(indices: npt.NDArray[np.intp], generator: np.random.Generator) -> Iterator[int]:
    while True:
        yield from generator.permutation(indices).tolist()
