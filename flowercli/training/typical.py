"""How typical the logits of a picture are of its nearest class: what betrays a flower that was never taught.

Relative Mahalanobis distance (Ren et al., 2021), in the space of the logits and there in the directions that tell the
classes apart best (linear discriminant analysis): how much nearer a picture is to the mean of its nearest class than to
that of all classes. A flower that was never taught may get a high logit; the others then are not those of its class.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from flowercli.data.manifest import Entry

    Floats = npt.NDArray[np.floating[Any]]

# Chosen on the first of the networks in docs/models.md: with more directions, or more photographs, no better.
DIRECTIONS = 32
PHOTOS_A_CLASS = 60
STORED_DTYPE = np.dtype("<f4")


@dataclass(frozen=True)
class Typical:
    """The classes in the space of ``R`` directions, each of variance one within a class, all ``float32``.

    ``centre`` ``[C]`` is the mean of the classes' mean logits, ``directions`` ``[C, R]`` leads from what lies beyond it
    into the space, ``means`` ``[K, R]`` are the classes with photographs, and ``spread`` ``[R]`` the share that the
    classes' own differences have in the variance of each direction.
    """

    centre: npt.NDArray[np.float32]
    directions: npt.NDArray[np.float32]
    means: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, logits: Floats, targets: npt.NDArray[np.int64]) -> Self:
        """Fit it on photographs of the training split.

        Args:
            logits: ``[N, C]``.
            targets: class indices ``[N]``.
        """
        classes, members = np.unique(targets, return_inverse=True)
        means = np.stack([logits[targets == each].mean(axis=0) for each in classes])
        centre = means.mean(axis=0)
        within, between = _scatter(logits - means[members]), _scatter(means - centre)
        # The mean variance on the diagonal: the classes are many, and the photographs of one few.
        within += max(float(np.trace(within)) / len(within), 1e-6) * np.eye(len(within))
        # The generalised eigenvectors, of variance one within a class.
        whiten = np.linalg.inv(np.linalg.cholesky(within))
        ratios, rotated = np.linalg.eigh(whiten @ between @ whiten.T)
        order = np.argsort(-ratios)[: min(DIRECTIONS, len(classes) - 1)]
        kept, ratio = whiten.T @ rotated[:, order], ratios[order].clip(min=0)
        columns = (centre, kept, (means - centre) @ kept, ratio / (1 + ratio))
        return cls(*(column.astype(np.float32) for column in columns))

    def __call__(self, logits: Floats) -> npt.NDArray[np.float64]:
        """Return how typical logits ``[N, C]`` are, ``[N]``: half the difference of the squared distances."""
        places = (logits.astype(np.float64) - self.centre) @ self.directions
        nearest = (places @ self.means.T - (self.means**2).sum(axis=1) / 2).max(axis=1)
        typical: npt.NDArray[np.float64] = nearest - (places**2) @ self.spread / 2
        return typical

    def to_json(self) -> dict[str, Any]:
        """Return the form that ``config.json`` holds: base64 of little-endian float32."""
        return {
            each.name: base64.b64encode(getattr(self, each.name).astype(STORED_DTYPE).tobytes()).decode("ascii")
            for each in fields(self)
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read the form that ``config.json`` holds.

        Raises:
            KeyError, TypeError, ValueError: it is damaged.
        """
        flat = {
            each.name: np.frombuffer(base64.b64decode(value[each.name], validate=True), dtype=STORED_DTYPE)
            for each in fields(cls)
        }
        size, count = len(flat["centre"]), len(flat["spread"])
        shapes = {"directions": (size, count), "means": (-1, count)}
        return cls(**{name: column.reshape(shapes.get(name, -1)).astype(np.float32) for name, column in flat.items()})


def representative(photos: Sequence[Entry]) -> list[Entry]:
    """Choose the photographs to fit it on, as many of each class as are of use, the same ones each time."""
    by_class: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for place, photo in enumerate(photos):
        members = by_class[photo.class_name]
        members.append((photo.sha256, place))
        if len(members) == 2 * PHOTOS_A_CLASS:  # Of millions, as many are held as it takes.
            members.sort()
            del members[PHOTOS_A_CLASS:]
    chosen = sorted(sorted(members)[:PHOTOS_A_CLASS] for members in by_class.values())
    return [photos[place] for members in chosen for _, place in members]


def _scatter(rows: Floats) -> npt.NDArray[np.float64]:
    return (rows.T @ rows).astype(np.float64) / len(rows)
