"""Smooth random fields and colour helpers shared by all the flowers."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def srgb(code: str) -> Array:
    """Linear light of a colour written as the usual `rrggbb`."""
    value = np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return (value**2.2).astype(np.float32)


def smooth(low: float, high: float, x: Array) -> Array:
    """S-shaped step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Array, b: Array, share: Array) -> Array:
    """Blend of two colours; `share` has no colour axis yet."""
    share = np.asarray(share, np.float32)[..., None]
    return a * (1 - share) + b * share


class Noise:
    """Value noise on a repeating table, so the same seed gives the same field."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.table = rng.uniform(-1, 1, (256, 256)).astype(np.float32)

    def __call__(self, x: Array, y: Array) -> Array:
        """Smoothly interpolated noise in -1..1; one bump per unit length."""
        x, y = np.broadcast_arrays(np.float32(x), np.float32(y))
        col, row = np.floor(x), np.floor(y)
        fx, fy = x - col, y - row
        fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
        i, j = col.astype(np.int32) & 255, row.astype(np.int32) & 255
        k, m = (i + 1) & 255, (j + 1) & 255
        top = self.table[j, i] * (1 - fx) + self.table[j, k] * fx
        low = self.table[m, i] * (1 - fx) + self.table[m, k] * fx
        return top * (1 - fy) + low * fy

    def layered(self, x: Array, y: Array, octaves: int = 3) -> Array:
        """Sum of ever finer and fainter noise, as in clouds or leaf mottling."""
        total = 0.0
        for step in range(octaves):
            scale = 2.0**step
            total = total + self(x * scale + 17 * step, y * scale + 5 * step) / scale
        return total / 2
