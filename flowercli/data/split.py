"""Assign photographs to train, val and test the way ``torch.utils.data.random_split`` does, without torch.

torch's CPU generator is the Mersenne Twister of Matsumoto and Nishimura (1998), seeded with one
32-bit word, and its ``randperm`` is a Fisher-Yates shuffle that draws one 32-bit word a position
(``randperm_cpu`` in ``aten/src/ATen/native/TensorFactories.cpp``). NumPy's legacy seeding is the same
generator. A test holds the result to torch's.
"""

from __future__ import annotations

import math
import shlex
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flowercli.errors import DataError, UsageError

if TYPE_CHECKING:
    from flowercli.data.scan import Scan


SPLITS = ("train", "val", "test")
DEFAULT_RATIOS = (0.9, 0.05, 0.05)
DEFAULT_SEED = 2024


def random_permutation(count: int, seed: int) -> array[int]:
    """Return ``torch.randperm(count, generator=torch.Generator().manual_seed(seed))``."""
    generator = np.random.RandomState(seed & 0xFFFFFFFF)
    words = generator.randint(0, 2**32, size=max(count - 1, 0), dtype=np.uint32)
    order = array("q", range(count))
    for position, word in enumerate(words.data):
        other = position + word % (count - position)
        order[position], order[other] = order[other], order[position]
    return order


def split_lengths(count: int, ratios: Sequence[float]) -> list[int]:
    """Return the sizes of the parts: rounded down, what is left given to the first parts in turn.

    Raises:
        UsageError: the ratios are not three numbers in 0…1 that add up to 1.
    """
    if len(ratios) != len(SPLITS) or any(not 0 <= ratio <= 1 for ratio in ratios):
        raise UsageError("The ratios are three numbers from 0 to 1.", hint="--ratios 0.9,0.05,0.05")
    if not math.isclose(sum(ratios), 1, abs_tol=1e-6):
        raise UsageError(f"The ratios add up to {sum(ratios):g}, not to 1.", hint="--ratios 0.9,0.05,0.05")
    lengths = [math.floor(count * ratio) for ratio in ratios]
    for extra in range(count - sum(lengths)):
        lengths[extra % len(lengths)] += 1
    return lengths


def random_split(count: int, ratios: Sequence[float], seed: int) -> list[str]:
    """Return the split of each of ``count`` items as ``torch.utils.data.random_split`` would assign it."""
    names = [name for name, length in zip(SPLITS, split_lengths(count, ratios), strict=True) for _ in range(length)]
    assigned = [""] * count
    for index, name in zip(random_permutation(count, seed), names, strict=True):
        assigned[index] = name
    return assigned


def stratified_split(labels: Sequence[str], ratios: Sequence[float], seed: int) -> list[str]:
    """Split each class on its own with the same ratios, so that every split has the classes' proportions."""
    members: dict[str, array[int]] = defaultdict(lambda: array("q"))
    for index, label in enumerate(labels):
        members[label].append(index)
    assigned = [""] * len(labels)
    for position, label in enumerate(sorted(members)):
        parts = random_split(len(members[label]), ratios, seed + position)
        for index, name in zip(members[label], parts, strict=True):
            assigned[index] = name
    return assigned


def assign(labels: Sequence[str], ratios: Sequence[float], seed: int, *, stratify: bool) -> list[str]:
    """Split items with these labels, with or without regard to these."""
    return stratified_split(labels, ratios, seed) if stratify else random_split(len(labels), ratios, seed)


def shares(sides: Collection[str]) -> tuple[float, ...]:
    """Return the ratios that a split has."""
    counts = Counter(sides)
    return tuple(counts[split] / max(len(sides), 1) for split in SPLITS)


def keep_groups_together(assigned: Sequence[str], groups: Sequence[Sequence[int]]) -> list[str]:
    """Give every member of a group of duplicates the split of its first member."""
    result = list(assigned)
    for group in groups:
        for member in group:
            result[member] = assigned[group[0]]
    return result


def check_parts(scan: Scan, *, by_folder: bool) -> None:
    """Hold what is asked for to what is there.

    Raises:
        DataError: the dataset is split already, and nobody said that it is to stay so.
        UsageError: it is to stay so, and is not.
    """
    if scan.parts and not by_folder:
        message = f"{scan.root} is split already: {', '.join(scan.parts)} are no classes."
        raise DataError(message, hint=f"Keep that split: flowers split {shlex.quote(str(scan.root))} --by-folder")
    if by_folder and not scan.parts:
        message = f"{scan.root} is not split already: it has no folders train and val (or valid) or test."
        raise UsageError(message, hint=f"flowers split {shlex.quote(str(scan.root))}")


def sides_by_folder(
    scan: Scan,
    class_names: Sequence[str],
    parts: Sequence[str],
    groups: Sequence[Sequence[int]],
    ratios: Sequence[float],
    seed: int,
    *,
    stratify: bool,
) -> list[str]:
    """Return the split of photographs by the part that each lies in.

    Without a folder for validation its photographs are drawn from those for training, copies together, in the
    proportion that ``ratios`` has of the two. Nothing else moves.

    Args:
        scan: the dataset.
        class_names: of each photograph.
        parts: of each photograph.
        groups: of copies, by index.
        ratios: shares of train, val and test.
        seed: as for ``torch.Generator().manual_seed``.
        stratify: keep the classes' proportions.
    """
    if "val" in scan.parts.values():
        return list(parts)
    train = {index: place for place, index in enumerate(i for i, part in enumerate(parts) if part == "train")}
    share = ratios[1] / (ratios[0] + ratios[1] or 1)
    drawn = assign([class_names[index] for index in train], (1 - share, share, 0), seed, stratify=stratify)
    inside = [[train[index] for index in group if index in train] for group in groups]
    drawn = keep_groups_together(drawn, [group for group in inside if group])
    return [drawn[train[index]] if index in train else part for index, part in enumerate(parts)]
