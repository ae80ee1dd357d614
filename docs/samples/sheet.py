"""A batch of curved surfaces: where they lie, which way they face, their colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

Array = np.ndarray
Field = Callable[[Array, Array], Array]  # of (u, v), see Sheet


@dataclass(frozen=True)
class Sheet:
    """Surfaces over u in 0..1 and v in -1..1, with a leading axis for the batch."""

    shape: Field
    paint: Field
    through: float = 0.3  # share of light that passes to the other side
    gloss: float = 0.04
    sheen: float = 24.0
    coarse: tuple[int, int] = (16, 7)  # grid on which slow lighting is worked out

    def moved(self, turn: Array, shift: Array, scale: float = 1.0) -> Sheet:
        """The same surfaces, scaled, turned and carried elsewhere."""
        inner, turn = self.shape, np.float32(turn)
        shift = np.float32(shift)
        return replace(self, shape=lambda u, v: inner(u, v) @ (turn.T * scale) + shift)

    def points(self, rows: int, columns: int) -> Array:
        """Positions on an even grid, (batch, rows, columns, 3)."""
        u, v = axes(rows, columns)
        return self.shape(u, v).astype(np.float32)


def axes(rows: int, columns: int) -> tuple[Array, Array]:
    """The parameters of an even grid, ready to broadcast."""
    u = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    v = np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    return u, v


def cross(a: Array, b: Array) -> Array:
    """Cross product along the last axis; much quicker than numpy's own."""
    out = np.empty(np.broadcast_shapes(a.shape, b.shape), np.float32)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        out[..., i] = a[..., j] * b[..., k] - a[..., k] * b[..., j]
    return out


def unit(vector: Array) -> Array:
    """Vectors of length one (a zero vector stays near zero)."""
    size = np.sqrt(np.einsum("...i,...i->...", vector, vector))
    return vector / np.maximum(size, 1e-9)[..., None]


def normals(points: Array) -> Array:
    """Smooth unit normals of gridded surfaces, on their upper or inner side."""
    along = np.gradient(points, axis=1)
    across = np.gradient(points, axis=2)
    return unit(cross(along, across))


def spread(values: Array, rows: int, columns: int) -> Array:
    """Values of a coarse grid carried over to a fine one, linearly."""
    tall = _weights(values.shape[1], rows)
    wide = _weights(values.shape[2], columns)
    return np.einsum("ru,puvc,sv->prsc", tall, values, wide, optimize=True)


def _weights(coarse: int, fine: int) -> Array:
    """Matrix of linear interpolation from `coarse` to `fine` samples."""
    place = np.linspace(0, coarse - 1, fine)
    grid = np.arange(coarse)
    return np.maximum(0, 1 - np.abs(place[:, None] - grid)).astype(np.float32)


def rotation(axis: str, angle: float) -> Array:
    """Matrix that turns by `angle` (radians) about the named axis."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    turn = np.eye(3)
    turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
    return turn
