"""What teaching came to: measured on photographs that were left out of it in their turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flowercli.teaching.head import evidence, features

if TYPE_CHECKING:
    from flowercli.teaching.exemplars import Exemplars
    from flowercli.teaching.fit import Fitted, Space

Floats = npt.NDArray[np.floating[Any]]
HALVES, FEWEST_FOR_HALVES = 10, 6


@dataclass(frozen=True)
class TaughtFlower:
    """A flower that was taught in this run.

    ``right`` and ``kept`` count those of ``photos`` that are named, and not refused, when they are left out of the
    teaching; ``confused`` what the others are taken for. ``half`` is the share right with half of the photographs,
    ``None`` where they are too few to tell.
    """

    name: str
    is_new: bool
    photos: int
    right: int
    kept: int
    confused: dict[str, int]
    half: float | None
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)

    @property
    def twice(self) -> float | None:
        """The share right to be expected of twice as many photographs, as errors fell from half of them to all."""
        if self.half is None:
            return None
        wrong, wrong_of_half = 1 - self.right / self.photos, 1 - self.half
        return 1 - (wrong if wrong >= wrong_of_half else wrong * wrong / wrong_of_half)


@dataclass(frozen=True)
class Cost:
    """What teaching costs the flowers of before, and the refusal: counts before and after.

    Of ``photos`` of them, left out in their turn; ``taken`` counts for which taught flower they are taken now. Of
    ``others`` pictures that show no flower, ``refused``.
    """

    photos: int
    right: tuple[int, int]
    kept: tuple[int, int]
    others: int
    refused: tuple[int, int]
    taken: dict[str, int]


@dataclass(frozen=True)
class Report:
    """All of it."""

    model: str
    output: str
    flowers: list[TaughtFlower]
    cost: Cost
    classes: int
    threshold: float
    forgotten: list[str]
    untaught: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return what ``flowers teach --json`` prints."""
        flowers = [{**asdict(one), "twice": one.twice} for one in self.flowers]
        return {**asdict(self), "flowers": flowers}


@dataclass(frozen=True)
class Measured:
    """Answers of a head about the exemplars and the taught photographs, each left out: classes and how far known."""

    answered: npt.NDArray[np.int64]
    known: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]

    @classmethod
    def of(cls, fitted: Fitted, found: Floats, seen: Exemplars) -> Measured:
        """Ask a head with this evidence ``[N, T]`` about what was seen."""
        shares, known = fitted.head.combined(found, seen.log_probabilities, seen.known)
        return cls(shares.argmax(axis=1), known, shares.max(axis=1))


def threshold_of(before: float, exemplars: Exemplars, known: Floats, taught: Sequence[Floats]) -> float:
    """Return the threshold that keeps as many exemplars as before, or as few more as taught photographs need.

    Args:
        before: that of the model as it was.
        exemplars: those that show a flower.
        known: what the head says of them ``[N]``.
        taught: what it says of the photographs of each taught flower, left out in their turn.
    """
    refused = float((exemplars.known < before).mean())
    wanted = [float(np.quantile(one, refused, method="lower")) for one in (known, *taught) if len(one)]
    return float(np.clip(min(wanted, default=before), before, 1.0))


def with_half(space: Space, fitted: Fitted, taught: Sequence[Floats], which: int, seen: Exemplars) -> float | None:
    """Return the share of a flower's photographs that are right when half of them teach it, of several halves."""
    places = taught[which]
    if len(places) < FEWEST_FOR_HALVES:
        return None
    generator, head = np.random.default_rng(0), fitted.head
    column, target = len(space.means) + which, head.place[len(head.kept) + which]
    scores = places @ head.weight + head.bias
    right = []
    for _ in range(HALVES):
        order = generator.permutation(len(places))
        learnt, asked = order[: len(order) // 2], order[len(order) // 2 :]
        mean = space.mean(places[learnt])
        turned = space.matrix @ mean
        scores[:, column] = places @ turned - mean @ turned / 2
        found = evidence(scores[asked], len(taught)) + head.offset
        right.append(float((Measured.of(fitted, found, seen.take(asked)).answered == target).mean()))
    return float(np.mean(right))


def features_of(seen: Exemplars, first: int, count: int) -> list[npt.NDArray[np.float64]]:
    """Return the features of the photographs of ``count`` taught flowers, whose class indices begin with ``first``."""
    places = features(seen.embedding)
    return [places[seen.class_index == first + which] for which in range(count)]


def confused_with(answered: npt.NDArray[np.int64], target: int, names: Sequence[str]) -> dict[str, int]:
    """Return what photographs of a class are taken for, most often first."""
    return dict(Counter(names[place] for place in answered.tolist() if place != target).most_common())
