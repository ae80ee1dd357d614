"""Which classes are taken for which: the confusion matrix as pairs, which can be read for a hundred classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class ConfusedPair(NamedTuple):
    """Photographs of one class that were named another: so many ``times``, of its ``photos``."""

    target: str
    named: str
    times: int
    photos: int


def confused_pairs(metrics: Mapping[str, Any]) -> list[ConfusedPair]:
    """Return the pairs of classes that an evaluation confuses, the most frequent first."""
    names = list(metrics["per_class"])
    pairs = [
        ConfusedPair(target, named, count, sum(counts))
        for target, counts in zip(names, metrics["confusion_matrix"], strict=True)
        for named, count in zip(names, counts, strict=True)
        if count and named != target
    ]
    return sorted(pairs, key=lambda pair: (-pair.times, -pair.times / pair.photos, pair.target))
