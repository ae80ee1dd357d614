"""Randomness that depends on where a run is, not on how it got there: the seed of each step and each picture.

A run that is resumed in the middle of an epoch draws the same numbers as one that was never stopped,
whatever the number of data workers, without any generator's state being kept.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# What a seed is for, so that no two purposes share one.
ORDER, PICTURE, STEP = range(3)


def derive_seed(seed: int, *position: int) -> int:
    """Return a seed of 32 bits for one position of a run, unrelated to those of all others."""
    return int(np.random.SeedSequence([seed, *position]).generate_state(1)[0])


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators; timm's transforms and mixup use all three."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (timm.data.Mixup draws from the global generator)
    torch.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global CPU generators for the block, and put them back as they were."""
    python, numpy, torch_cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    # Not torch.manual_seed: a data worker must not touch the accelerator's generator.
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(torch_cpu)
