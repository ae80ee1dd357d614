"""Tell pictures of something else by where their embedding lies.

A network can be sure and wrong about what it has never seen: a cat is a rose with 99 %. The unit
embeddings of the training photographs lie close to a subspace of few dimensions (the residual score of
ViM, Wang et al., 2022); a picture farther from it than nearly all validation photographs is novel.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from flowercli.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

DIMENSIONS = 16
# Two bytes a value: the description stays below 60 kB for an embedding of 1280, and loses nothing that matters.
STORED_DTYPE = np.dtype("<f2")


@dataclass(frozen=True)
class Novelty:
    """A subspace of the embedding: its ``mean`` ``[D]``, its orthonormal ``basis`` ``[R, D]``, and the ``limit``."""

    mean: npt.NDArray[np.float32]
    basis: npt.NDArray[np.float32]
    limit: float

    @classmethod
    def fit(cls, train: npt.NDArray[np.floating[Any]], known: npt.NDArray[np.floating[Any]], accept: float) -> Self:
        """Fit the subspace to training embeddings and the limit to others of the same kind.

        Args:
            train: embeddings ``[N, D]`` of training photographs.
            known: embeddings ``[M, D]`` of rightly answered photographs that were not trained on.
            accept: share of ``known`` to let through, 0…1.
        """
        unit = _unit(train)
        mean = unit.mean(axis=0)
        _, _, directions = np.linalg.svd(unit - mean, full_matrices=False)
        fitted = cls(_stored(mean), _stored(directions[:DIMENSIONS]), 0.0)
        distances = fitted.distance(known) if len(known) else np.ones(1)
        return cls(fitted.mean, fitted.basis, float(np.quantile(distances, accept)))

    def distance(self, embeddings: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """Return the distance ``[N]`` of embeddings ``[N, D]`` from the subspace, 0 to 2."""
        centred = _unit(embeddings) - self.mean
        residual = centred - (centred @ self.basis.T) @ self.basis
        distances: npt.NDArray[np.float64] = np.sqrt(_squares(residual))
        return distances

    def coordinates(self, embeddings: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Return where embeddings ``[N, D]`` lie within the subspace, ``[N, R]``."""
        coordinates: npt.NDArray[np.float32] = ((_unit(embeddings) - self.mean) @ self.basis.T).astype(np.float32)
        return coordinates

    def is_novel(self, embedding: npt.NDArray[np.floating[Any]]) -> bool:
        """Whether the picture with this embedding ``[D]`` is of something else."""
        return bool(self.distance(embedding[np.newaxis])[0] > self.limit)

    def to_json(self) -> dict[str, Any]:
        """Return the form that ``config.json`` holds: arrays as base64 of little-endian float16."""
        return {"limit": self.limit, "mean": _encode(self.mean), "basis": _encode(self.basis)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], size: int) -> Self:
        """Read the form that ``config.json`` holds, for embeddings of ``size`` values.

        Raises:
            BundleError: it is damaged.
        """
        try:
            mean, basis = _decode(value["mean"]), _decode(value["basis"])
            return cls(mean.reshape(size), basis.reshape(-1, size), float(value["limit"]))
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise BundleError(f"The description of the bundle is damaged: novelty: {error}.") from error


def _unit(embeddings: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    norms = np.sqrt(_squares(embeddings))
    unit: npt.NDArray[np.floating[Any]] = embeddings / np.maximum(norms, 1e-12)[:, np.newaxis]
    return unit


def _squares(rows: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Return the squared length of each row: one call where ``np.linalg.norm`` makes many."""
    squares: npt.NDArray[np.floating[Any]] = np.einsum("ij,ij->i", rows, rows)
    return squares


def _stored(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    """Round to what will be stored, so that a fresh one and one that was read give the same distances."""
    return values.astype(STORED_DTYPE).astype(np.float32)


def _encode(values: npt.NDArray[np.float32]) -> str:
    return base64.b64encode(values.astype(STORED_DTYPE).tobytes()).decode("ascii")


def _decode(text: str) -> npt.NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=STORED_DTYPE).astype(np.float32)
