"""Fit the head, and ask about each photograph as if it had not been there, neither in a mean nor in the matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flowercli.teaching.exemplars import NONE
from flowercli.teaching.head import Head, evidence, features

if TYPE_CHECKING:
    from flowercli.teaching.exemplars import Exemplars

Floats = npt.NDArray[np.floating[Any]]
# Of the matrix, what all directions have alike; chosen as in docs/teach.md.
SHRINKAGE = 0.7
# Photographs that the mean of all flowers counts in the mean of a taught one: of three, a mean says little.
PRIOR_PHOTOS = 1.0
# Of the exemplars, the share that one taught flower may win from the flowers that they show.
COST = 0.006
# Of the pictures without a flower, the share that may be taken for it.
COST_OTHERS = 0.1
# By how much log odds the evidence for the least likely of the taught photographs may exceed what it needs.
SURE = 6.0
IMPOSSIBLE = -1e9


@dataclass(frozen=True)
class Fitted:
    """A head, and what it says of photographs that were left out in their turn.

    ``exemplars`` ``[N, T]`` is the evidence for what was taught, in the pictures that the head was fitted against;
    ``taught`` has the same ``[M, T]`` of the photographs of each flower that was taught.
    """

    head: Head
    exemplars: npt.NDArray[np.float64]
    taught: list[npt.NDArray[np.float64]]


class Space:
    """The exemplars in the space of the features: means ``[K, D]``, and the matrix ``[D, D]`` of all.

    It does not change with what is taught, so all that is asked takes one inverse, half a second for 1,280 values.
    """

    def __init__(self, exemplars: Exemplars, classes: int) -> None:
        index = exemplars.class_index
        self.places = features(exemplars.embedding)
        self.shows = (index >= 0) & (index < classes)
        names, self.member = np.unique(np.where(self.shows, index, NONE), return_inverse=True)
        self.count = np.bincount(self.member)
        self.means = np.stack([self.places[self.member == each].mean(axis=0) for each in range(len(names))])
        self.centre = self.places[self.shows].mean(axis=0)
        # As far from the mean as if it had not been in it.
        wider = np.sqrt(self.count / np.maximum(self.count - 1, 1))[self.member]
        self.apart = (self.places - self.means[self.member]) * wider[:, np.newaxis] * self.shows[:, np.newaxis]
        self.weight = (1 - SHRINKAGE) / max(int(self.shows.sum()), 1)
        scatter = self.weight * (self.apart.T @ self.apart)
        size = len(scatter)
        alike = SHRINKAGE / (1 - SHRINKAGE) * float(np.trace(scatter)) / size
        self.matrix = np.linalg.inv(scatter + max(alike, 1e-9) * np.eye(size))

    def mean(self, places: Floats) -> npt.NDArray[np.float64]:
        """Return the mean of a taught flower ``[D]``, drawn to the mean of all by a photograph's weight."""
        share = len(places) / (len(places) + PRIOR_PHOTOS)
        found: npt.NDArray[np.float64] = self.centre + share * (places.mean(axis=0) - self.centre)
        return found

    def discriminants(self, taught: Sequence[Floats]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return weight ``[D, K]`` and bias ``[K]``, of what was known, then of the ``taught`` means."""
        means = np.vstack([self.means, *taught])
        weight = self.matrix @ means.T
        return weight, -0.5 * np.einsum("kd,dk->k", means, weight)

    def left_out(self, weight: Floats, bias: Floats) -> npt.NDArray[np.float64]:
        """Return the discriminants of the exemplars ``[N, K]``, each as if it were none of them.

        Without it the matrix differs by a product of one vector with itself, so that its inverse is known (Sherman and
        Morrison); and so does the mean of its class.
        """
        turned = self.apart @ self.matrix
        gain = self.weight / np.maximum(1 - self.weight * np.einsum("nd,nd->n", turned, self.apart), 1e-3)
        along, own = self.apart @ weight, np.einsum("nd,nd->n", turned, self.places)
        return self._own_mean_without(
            self.places @ weight + (gain * own)[:, np.newaxis] * along,
            gain[:, np.newaxis] * along**2 - 2 * bias,
            np.einsum("nd,nd->n", self.places @ self.matrix, self.places) + gain * own**2,
        )

    def _own_mean_without(self, products: Floats, squares: Floats, own: Floats) -> npt.NDArray[np.float64]:
        rows, count = np.arange(len(own)), self.count[self.member]
        product, square = products[rows, self.member], squares[rows, self.member]
        rest = np.maximum(count - 1, 1)
        scores = products - squares / 2
        without = (count * product - own) / rest - (count**2 * square - 2 * count * product + own) / (2 * rest**2)
        scores[rows, self.member] = np.where(count > 1, without, IMPOSSIBLE)
        found: npt.NDArray[np.float64] = scores
        return found


def fit(
    space: Space,
    exemplars: Exemplars,
    taught: Sequence[Floats],
    said: Sequence[Floats],
    kept: npt.NDArray[np.bool_],
    place: npt.NDArray[np.int64],
) -> Fitted:
    """Fit a head to photographs of flowers.

    Args:
        space: of the exemplars.
        exemplars: those that it is made of.
        taught: features ``[M, D]`` of the photographs of each flower, two or more.
        said: the logarithms of the probabilities ``[M, C]`` that the model gave them before.
        kept: which of the model's classes may still be answered ``[C]``.
        place: which class each of these, and of the taught ones, becomes ``[C + T]``.
    """
    weight, bias = space.discriminants([space.mean(one) for one in taught])
    found = evidence(space.left_out(weight, bias), len(taught))
    left = [_left_out(space, taught, which, weight, bias) for which in range(len(taught))]
    limits = _limits(exemplars, found, kept, place)
    wanted = [
        float((np.where(kept, those, IMPOSSIBLE).max(axis=1) - one[:, which]).max())
        for which, (one, those) in enumerate(zip(left, said, strict=True))
    ]
    # Where there is more room than it takes, the flowers of before get half of it; all alike, so that those that are
    # taught are weighed against each other as they were.
    room = min((limit - need for limit, need in zip(limits, wanted, strict=True)), default=0.0)
    offset = np.array(limits) - max(room - SURE, 0.0) / 2
    return Fitted(Head(weight, bias, offset, kept, place), found + offset, [one + offset for one in left])


def _limits(
    exemplars: Exemplars, found: Floats, kept: npt.NDArray[np.bool_], place: npt.NDArray[np.int64]
) -> list[float]:
    """Return how much may be added to the evidence for each flower before it costs the others more than it may."""
    index = exemplars.class_index
    named = np.where(kept, exemplars.log_probabilities, IMPOSSIBLE)
    shows = (index >= 0) & (index < len(kept))
    right = shows & (named.argmax(axis=1) == index)
    limits = []
    for which in range(found.shape[1]):
        others = right & (place[index.clip(0, len(kept) - 1)] != place[len(kept) + which])
        margins = np.sort((named.max(axis=1) - found[:, which])[others])
        limit = float(margins[min(int(COST * shows.sum()), len(margins) - 1)]) if len(margins) else 0.0
        # More likely than not, it would be known.
        nothing = np.sort(-found[index < 0, which])
        limits.append(min(limit, *nothing[int(COST_OTHERS * len(nothing)) :][:1].tolist(), np.inf) - 1e-3)
    return limits


def _left_out(
    space: Space, taught: Sequence[Floats], which: int, weight: Floats, bias: Floats
) -> npt.NDArray[np.float64]:
    """Return the evidence in the photographs of one flower ``[M, T]``, each left out of that flower's mean."""
    places = taught[which]
    scores = places @ weight + bias
    column = len(space.means) + which
    for row in range(len(places)):
        mean = space.mean(np.delete(places, row, axis=0))
        turned = space.matrix @ mean
        scores[row, column] = places[row] @ turned - mean @ turned / 2
    return evidence(scores, len(taught))
