"""A thin-lens camera that draws dense point clouds into a depth buffer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from light import Effort, Exposure, Light, counts, expose, shade
from sheet import Sheet, unit

Array = np.ndarray
NEAREST = 0.2  # nothing closer to the lens than this is drawn


@dataclass(frozen=True)
class Camera:
    """Where the picture is taken from and how wide the lens is open."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    width: int
    height: int
    zoom: float = 2.2  # focal length over the height of the film
    focus: float = 0.0  # distance in focus; 0: that of the target
    lens: float = 0.0  # radius of the lens in scene units

    def frame(self) -> Array:
        """Rows: right, down and ahead."""
        ahead = unit(np.float32(self.target) - np.float32(self.eye))
        right = unit(np.cross(ahead, np.float32([0, 0, 1])))
        return np.stack([right, np.cross(ahead, right), ahead]).astype(np.float32)

    def sees(self, points: Array) -> Array:
        """Points in the camera's own axes."""
        return (points - np.float32(self.eye)) @ self.frame().T

    @property
    def distance(self) -> float:
        """Distance of the plane in focus."""
        gap = np.subtract(self.target, self.eye)
        return self.focus or float(np.linalg.norm(gap))

    def pixels(self, seen: Array) -> Array:
        """Film places (x, y) of points through the middle of the lens."""
        middle = np.float32([self.width / 2, self.height / 2])
        return seen[..., :2] * (self.zoom * self.height / seen[..., 2:]) + middle

    def slip(self, seen: Array) -> Array:
        """How far a point moves on the film for each unit the lens hole moves."""
        return self.zoom * self.height * (1 / self.distance - 1 / seen[:, 2])


@dataclass
class Cloud:
    """Shaded points in camera axes and on the film."""

    seen: Array
    place: Array
    colour: Array

    def take(self, which: Array) -> Cloud:
        """Only some of the points."""
        return Cloud(self.seen[which], self.place[which], self.colour[which])


def draw(sheets: list[Sheet], light: Light, camera: Camera, effort: Effort) -> Array:
    """Premultiplied RGBA of the sheets, averaged over spots of the lens."""
    seen = expose(sheets, light, effort)
    cloud = _visible(_gather(sheets, seen, light, camera), camera)
    slip = camera.slip(cloud.seen)
    # Depth in the high bits and the point's number in the low ones: the least
    # key in a pixel is its nearest point.
    key = (cloud.seen[:, 2] * 1e5).astype(np.int64) << 32 | np.arange(len(slip))
    x, y = np.ascontiguousarray(cloud.place.T)
    film = np.zeros((camera.height * camera.width, 4), np.float32)
    for hole, jitter in _lens(camera.lens, effort.shots):
        column = x + slip * hole[0] + jitter[0]
        row = y + slip * hole[1] + jitter[1]
        inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
        spot = row[inside].astype(np.int64) * camera.width + column[inside].astype(np.int64)
        _snap(film, spot, key[inside], cloud.colour)
    return film.reshape(camera.height, camera.width, 4) / effort.shots


def _lens(radius: float, shots: int) -> list[tuple[Array, Array]]:
    """Spots spread over the lens, each with its own shift within the pixel."""
    index = np.arange(shots)
    reach = radius * np.sqrt((index + 0.5) / shots) * (shots > 1)
    turn = index * 2.39996323
    hole = np.stack([reach * np.cos(turn), reach * np.sin(turn)], 1)
    jitter = np.stack([index * 0.7548777 % 1, index * 0.5698403 % 1], 1) - 0.5
    return list(zip(np.float32(hole), np.float32(jitter), strict=True))


def _gather(sheets: list[Sheet], seen: list[Exposure], light: Light, camera: Camera) -> Cloud:
    """Every sheet as a cloud of shaded points, less than a pixel apart."""
    places, colours = [], []
    for sheet, exposure in zip(sheets, seen, strict=True):
        rows, columns = _density(sheet, camera)
        points = sheet.points(rows, columns)
        colour = shade(sheet, points, exposure, light, camera.eye)
        places.append(camera.sees(points.reshape(-1, 3)))
        colours.append(colour.reshape(-1, 3))
    everything = np.concatenate(places)
    return Cloud(everything, camera.pixels(everything), np.concatenate(colours))


def _density(sheet: Sheet, camera: Camera) -> tuple[int, int]:
    """Grid size at which no gap between points is as wide as a pixel."""
    seen = camera.sees(sheet.points(24, 12))
    seen[..., 2] = np.maximum(seen[..., 2], NEAREST)
    return counts(camera.pixels(seen), 0.66)


def _visible(cloud: Cloud, camera: Camera, pad: int = 24, block: int = 8) -> Cloud:
    """Drop points that lie off the film or well behind a closed surface."""
    limit = np.float32([camera.width + pad, camera.height + pad])
    inside = ((cloud.place > -pad) & (cloud.place < limit)).all(1)
    cloud = cloud.take(inside & (cloud.seen[:, 2] > NEAREST))
    wide, tall = (-(-(n + 2 * pad) // block) for n in (camera.width, camera.height))
    cell = (cloud.place + pad).astype(np.int32)
    near = np.full(wide * tall * block**2, np.inf, np.float32)
    np.minimum.at(near, cell[:, 1] * (wide * block) + cell[:, 0], cloud.seen[:, 2])
    far = near.reshape(tall, block, wide, block).max((1, 3))
    far = _spread_largest(far)
    keep = cloud.seen[:, 2] <= far[cell[:, 1] // block, cell[:, 0] // block] + 0.02
    return cloud.take(keep)


def _spread_largest(cells: Array) -> Array:
    """The largest value among each cell and its eight neighbours."""
    rows, columns = cells.shape
    padded = np.pad(cells, 1, mode="edge")
    shifts = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return np.max(shifts, axis=0)


def _snap(film: Array, spot: Array, key: Array, colour: Array) -> None:
    """Add one sharp picture, nearest points in front, to the film."""
    first = np.full(len(film), np.iinfo(np.int64).max)
    np.minimum.at(first, spot, key)
    hit = np.flatnonzero(first != np.iinfo(np.int64).max)
    film[hit, :3] += colour[first[hit] & 0xFFFFFFFF]
    film[hit, 3] += 1
