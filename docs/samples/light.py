"""Sun and sky: who sees how much of them, and the colour that comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from noise import srgb
from sheet import Sheet, axes, normals, spread, unit

Array = np.ndarray
SUNS = 14  # points of the sun that each cast a sharp shadow


@dataclass(frozen=True)
class Light:
    """The weather: a sun with some width, a sky, and green light from below."""

    sun: tuple[float, float, float] = (-0.5, -0.45, 0.75)
    power: Array = field(default_factory=lambda: 1.55 * srgb("fff3dc"))
    sky: Array = field(default_factory=lambda: 0.62 * srgb("dbe8ff"))
    ground: Array = field(default_factory=lambda: 0.30 * srgb("8fae55"))
    bounce: Array = field(default_factory=lambda: 0.12 * srgb("ffffff"))
    width: float = 0.10
    slack: float = 2.5  # cells of the shadow map by which a surface may shade itself

    @property
    def towards(self) -> Array:
        """Unit vector to the sun."""
        return unit(np.float32(self.sun))

    def radiance(self, way: Array) -> Array:
        """Brightness of the surroundings in a direction, sun left out."""
        up = np.clip(way[2] * 1.6 + 0.35, 0, 1)
        return self.ground * (1 - up) + self.sky * up * (0.7 + 0.3 * max(way[2], 0))


@dataclass(frozen=True)
class Effort:
    """How much work goes into a picture."""

    shots: int = 32  # spots of the lens that each take a sharp picture
    ways: int = 64  # directions in which the surroundings are looked at
    cells: int = 400  # width of a shadow map


@dataclass
class Exposure:
    """What each coarse grid point receives on its two sides."""

    sun: Array
    front: Array
    back: Array


class ShadowMap:
    """The surfaces as seen from one far direction, nearest first."""

    def __init__(self, cloud: Array, way: Array, cells: int) -> None:
        # Any direction will do to measure from but the light's own.
        helper = np.eye(3, dtype=np.float32)[np.abs(way).argmin()]
        side = unit(np.cross(helper, way))
        self.frame = np.stack([side, np.cross(way, side), -way], 1).astype(np.float32)
        flat = cloud @ self.frame[:, :2]
        self.low = flat.min(0)
        self.scale = cells / float((flat.max(0) - self.low).max() + 1e-6)
        self.cells = cells
        place, depth = self._locate(cloud)
        self.near = np.full(cells * cells, np.inf, np.float32)
        np.minimum.at(self.near, place, depth)

    def _locate(self, points: Array) -> tuple[Array, Array]:
        """Cell and depth of points."""
        seen = points @ self.frame
        cell = ((seen[:, :2] - self.low) * self.scale).astype(np.int32)
        cell = np.clip(cell, 0, self.cells - 1)
        return cell[:, 1] * self.cells + cell[:, 0], seen[:, 2]

    def open(self, points: Array, slack: float) -> Array:
        """1 where nothing stands between a point and the light, else 0."""
        place, depth = self._locate(points)
        return (depth - slack / self.scale <= self.near[place]).astype(np.float32)


def expose(sheets: list[Sheet], light: Light, effort: Effort) -> list[Exposure]:
    """Light received by every coarse grid point of every sheet."""
    grids = [sheet.points(*sheet.coarse) for sheet in sheets]
    facing = np.concatenate([normals(grid).reshape(-1, 3) for grid in grids])
    spots = np.concatenate([grid.reshape(-1, 3) for grid in grids])
    cloud = occluders(sheets, grids, effort.cells)
    sun = np.zeros((len(spots), 1), np.float32)
    for way in _around(light.towards, light.width, SUNS):
        sun += ShadowMap(cloud, way, effort.cells).open(spots, light.slack)[:, None] / SUNS
    front, back = _skylight(cloud, (spots, facing), light, effort)
    return _split([sun, front, back], grids)


def _skylight(cloud: Array, ground: tuple[Array, Array], light: Light, effort: Effort) -> tuple[Array, Array]:
    """Irradiance from all round on the two sides of each spot (places, normals)."""
    spots, facing = ground
    front = np.zeros((len(spots), 3), np.float32)
    back = np.zeros_like(front)
    for way in _sphere(effort.ways):
        clear = ShadowMap(cloud, way, effort.cells).open(spots, 2.5)[:, None]
        colour = clear * light.radiance(way) + (1 - clear) * light.bounce
        slant = (facing @ way)[:, None] * (4 / effort.ways)
        front += colour * np.maximum(slant, 0)
        back += colour * np.maximum(-slant, 0)
    return front, back


def _split(fields: list[Array], grids: list[Array]) -> list[Exposure]:
    """Cut long lists of values back into one grid per sheet."""
    result, at = [], 0
    for grid in grids:
        count = grid[..., 0].size
        parts = [part[at : at + count].reshape(*grid.shape[:3], -1) for part in fields]
        result.append(Exposure(*parts))
        at += count
    return result


def occluders(sheets: list[Sheet], grids: list[Array], cells: int) -> Array:
    """Points dense enough to leave no hole in a shadow map."""
    corners = np.array([[g.reshape(-1, 3).min(0), g.reshape(-1, 3).max(0)] for g in grids])
    extent = np.linalg.norm(corners[:, 1].max(0) - corners[:, 0].min(0)) * 0.6
    clouds = []
    for sheet, grid in zip(sheets, grids, strict=True):
        rows, columns = counts(grid, 0.6 * extent / cells)
        clouds.append(sheet.points(rows, columns).reshape(-1, 3))
    return np.concatenate(clouds)


def counts(grid: Array, step: float) -> tuple[int, int]:
    """Rows and columns that bring neighbouring points within `step`."""
    along = np.linalg.norm(np.diff(grid, axis=1), axis=-1).sum(1).max(1)
    across = np.linalg.norm(np.diff(grid, axis=2), axis=-1).sum(2).max(1)
    along, across = np.percentile(along, 96), np.percentile(across, 96)
    return int(np.clip(along / step, 4, 2600)), int(np.clip(across / step, 4, 2600))


def _sphere(count: int) -> Array:
    """Directions spread evenly over the whole sphere."""
    index = np.arange(count) + 0.5
    z = 1 - 2 * index / count
    turn = index * 2.39996323
    flat = np.sqrt(1 - z * z)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), z], 1).astype(np.float32)


def _around(way: Array, width: float, count: int) -> Array:
    """Directions within the disc of a wide sun."""
    return unit(way + width * _sphere(count))


def shade(sheet: Sheet, points: Array, seen: Exposure, light: Light, eye: Array) -> Array:
    """Colour of a fine grid of points as the camera sees them."""
    rows, columns = points.shape[1:3]
    facing, view = normals(points), unit(np.float32(eye) - points)
    side = np.sign(np.einsum("...i,...i->...", facing, view))[..., None]
    sun = spread(seen.sun, rows, columns) * light.power
    front, back = spread(seen.front, rows, columns), spread(seen.back, rows, columns)
    slant = (facing @ light.towards)[..., None] * side
    near = np.where(side > 0, front, back) + sun * np.maximum(slant * 0.88 + 0.12, 0)
    far = np.where(side > 0, back, front) + sun * np.maximum(-slant * 0.88 + 0.12, 0)
    colour = sheet.paint(*axes(rows, columns)).astype(np.float32)
    half = unit(view + light.towards)
    glint = np.abs(np.einsum("...i,...i->...", facing, half))[..., None] ** sheet.sheen
    body = colour * near * (1 - sheet.through)
    # Light that has crossed a petal has met its pigment twice.
    glow = colour**1.35 * far * sheet.through
    return body + glow + sheet.gloss * glint * (sun * (slant > 0) + 0.3 * near)
