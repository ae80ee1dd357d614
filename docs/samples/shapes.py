"""The geometry of plants: blades (petals and leaves), tubes (stems) and domes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sheet import cross, unit

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray


def column(values: Array) -> Array:
    """One number per surface, shaped to broadcast over its grid."""
    return np.asarray(values, np.float32).reshape(-1, 1, 1)


@dataclass(frozen=True)
class Blade:
    """Petals or leaves: a midrib that climbs and falls, and a rounded cross-section.

    The midrib leaves the axis at `azimuth`; `pitch` is its climb above level. `curl`
    is the curvature of the cross-section, so a curl of 1/r wraps round the axis.
    """

    azimuth: Array
    length: Array
    pitch: Callable[[Array], Array]
    width: Callable[[Array], Array]
    curl: Callable[[Array], Array] = lambda u: 1e-3 + 0 * u
    start: Array | float = 0.0
    lift: Array | float = 0.0
    bend: Array | float = 0.0
    twist: Array | float = 0.0
    tip: Callable[[Array, Array], Array] | None = None
    relief: Callable[[Array, Array], Array] | None = None

    def __call__(self, u: Array, v: Array) -> Array:
        """Positions for every (u, v)."""
        pitch = self.pitch(u)
        reach = self.start + climb(np.cos(pitch), u) * self.length
        height = self.lift + climb(np.sin(pitch), u) * self.length
        side, rise = self._section(u, v)
        ahead = self.tip(u, v) * self.length if self.tip else 0.0
        out = reach + ahead * np.cos(pitch) - rise * np.sin(pitch)
        up = height + ahead * np.sin(pitch) + rise * np.cos(pitch)
        cos, sin = np.cos(self.azimuth), np.sin(self.azimuth)
        return stack(out * cos - side * sin, out * sin + side * cos, up)

    def _section(self, u: Array, v: Array) -> tuple[Array, Array]:
        """Sideways place and height above the midrib across the blade."""
        curl = self.curl(u)
        angle = curl * self.width(u) * v
        side, rise = np.sin(angle) / curl, (1 - np.cos(angle)) / curl
        if self.relief:
            rise = rise + self.relief(u, v)
        turn = self.twist * u
        side, rise = (
            side * np.cos(turn) - rise * np.sin(turn),
            side * np.sin(turn) + rise * np.cos(turn),
        )
        return side + self.bend * self.length * u**2, rise


def climb(slope: Array, u: Array) -> Array:
    """Running integral of a slope along the blade (trapezium rule)."""
    slope = np.broadcast_to(slope, (*slope.shape[:-2], u.shape[0], 1))
    steps = (slope[..., 1:, :] + slope[..., :-1, :]) / 2 * np.diff(u, axis=0)
    return np.concatenate([0 * slope[..., :1, :], np.cumsum(steps, -2)], -2)


def stack(x: Array, y: Array, z: Array) -> Array:
    """Three coordinate fields as one array of positions."""
    return np.stack(np.broadcast_arrays(x, y, z), -1).astype(np.float32)


def tube(path: Array, radius: Callable[[Array], Array]) -> Callable:
    """A stem along a Bezier curve through four control points."""

    def shape(u: Array, v: Array) -> Array:
        basis = np.stack([(1 - u) ** 3, 3 * u * (1 - u) ** 2, 3 * u**2 * (1 - u), u**3])
        centre = np.einsum("kuv,kc->uvc", basis, np.float32(path))[None]
        ahead = unit(np.gradient(centre, axis=1))
        side = unit(cross(ahead, np.float32([0.36, 0.93, 0.05])))
        other = cross(side, ahead)
        turn = (v * np.pi)[None, ..., None]
        ring = np.cos(turn) * side + np.sin(turn) * other
        return centre + radius(u)[None, ..., None] * ring

    return shape


def dome(centre: Array, axis: Array, radius: Array, height: Array) -> Callable:
    """Rounded bumps (florets, buds) standing at `centre` along `axis`."""
    axis = unit(np.float32(axis))
    side = unit(cross(axis, np.float32([0.31, 0.95, 0.04])))
    frame = [part[:, None, None, :] for part in (centre, axis, side, cross(axis, side))]

    def shape(u: Array, v: Array) -> Array:
        middle, up, first, second = frame
        slant = (u * np.pi * 0.62)[None]
        turn = (v * np.pi)[None]
        out = column(radius) * np.sin(slant)
        rise = column(height) * np.cos(slant)
        across = (out * np.cos(turn))[..., None] * first
        across = across + (out * np.sin(turn))[..., None] * second
        return middle + across + (rise + 0 * turn)[..., None] * up

    return shape


def spiral(count: int, power: float = 0.5) -> tuple[Array, Array]:
    """Sunflower order: radius in 0..1 and azimuth of each of `count` places."""
    index = np.arange(count) + 0.5
    return (index / count) ** power, index * 2.39996323
