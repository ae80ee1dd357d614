"""Tulips: cups of six broad petals on straight stems, with long blue-green leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from camera import Camera
from light import Light
from noise import Noise, mix, smooth, srgb
from plants import greenery, lance, stem
from scene import Scene
from shapes import Blade, climb, column
from sheet import Field, Sheet, rotation

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray
Hues = tuple[str, str, str]
PINK = ("d8224e", "f58fa5", "f6d98a")
RED = ("c80f16", "ee5238", "f2c22a")
YELLOW = ("f6bd0c", "ffe052", "e9d56a")


class Petals:
    """Three petals of the cup: the outer or the inner ones."""

    def __init__(self, seed: int, hues: Hues, gape: float, *, inner: bool) -> None:
        """Draw what differs from petal to petal; `hues`: body, edge and base."""
        rng = np.random.default_rng(seed)
        self.body, self.edge, self.base = (srgb(code) for code in hues)
        self.inner, self.start = inner, 0.0 if inner else 0.17
        self.noise, self.shift = Noise(seed), column(rng.uniform(0, 99, 3))
        self.length = column(rng.uniform(2.55, 2.75, 3))
        self.lean = column(rng.normal(gape + (0 if inner else 0.03), 0.02, 3))
        place = np.arange(3) * 2.0944 + (1.047 if inner else 0)
        self.azimuth = column(place + rng.normal(0, 0.08, 3))
        self.twist = column(rng.normal(0, 0.06, 3))

    def pitch(self, u: Array) -> Array:
        """Out from the stem, up, and in again at the mouth."""
        cup = 0.15 + 1.46 * smooth(-0.02, 0.46, u)
        mouth = 0.28 * smooth(0.4, 0.85, u) - 0.45 * smooth(0.8, 1, u)
        return cup + mouth - self.lean * (0.4 + u) * 1.1

    def curl(self, u: Array) -> Array:
        """Every petal follows a circle round the stem: outer stay outside inner."""
        reach = climb(np.cos(self.pitch(u)), u) * self.length
        return 1 / (0.16 + self.start + reach)

    def relief(self, u: Array, v: Array) -> Array:
        """A keel outside, flared edges, waves and fine veins."""
        keel = -0.03 * np.exp(-((v / 0.10) ** 2)) * (1 - u)
        flare = -0.03 * smooth(0.6, 1, np.abs(v)) * smooth(0.3, 0.8, u)
        wave = 0.03 * self.noise(u * 2.4 + self.shift, v * 1.3 + self.shift)
        veins = 0.006 * self.noise(v * 16 + self.shift, u * 1.5)
        # Near the tip the sides meet, so what differs between them must fade out.
        return (keel + flare + wave + 0.035 * v) * _outline(u) ** 1.2 + veins

    def paint(self, u: Array, v: Array) -> Array:
        """Streaks from the body colour to the edge's, another at the foot."""
        broad = self.noise(v * 12 + self.shift, u * 1.2 + self.shift)
        streak = broad + 0.6 * self.noise(v * 34 + self.shift, u * 2)
        rim = 0.75 * smooth(0.45, 1.05, np.abs(v) + 0.16 * streak)
        rim = rim + 0.25 * smooth(0.7, 1, u) + 0.08 * streak
        colour = mix(self.body, self.edge, np.clip(rim, 0, 1))
        foot = np.exp(-((u / 0.16) ** 2)) * (1 - 0.3 * np.abs(v)) * 0.8
        return mix(colour, self.base, foot + 0 * self.shift) * (1 + 0.05 * streak[..., None])

    def sheet(self) -> Sheet:
        """The petals as surfaces."""
        half = 1.02 if self.inner else 1.1
        blade = Blade(
            azimuth=self.azimuth,
            length=self.length,
            pitch=self.pitch,
            width=lambda u: half * _outline(u) + 0 * self.lean,
            curl=self.curl,
            start=column([self.start]),
            twist=self.twist,
            relief=self.relief,
        )
        return Sheet(blade, self.paint, through=0.44, gloss=0.07, sheen=14, coarse=(30, 17))


def _outline(u: Array) -> Array:
    """Egg-shaped half-width with a small point at the tip."""
    low, high = np.clip(1 - u / 0.54, 0, 1), np.clip((u - 0.54) / 0.46, 0, 1)
    foot = 0.22 * low
    return (foot + (1 - foot) * (1 - low**2)) * np.clip(1 - high**2.1, 1e-5, 1) ** 0.78


def cup(seed: int, hues: Hues, gape: float = 0.0) -> list[Sheet]:
    """One flower, standing on the origin."""
    outer, inner = Petals(seed, hues, gape, inner=False), Petals(seed + 1, hues, gape, inner=True)
    return [outer.sheet(), inner.sheet()]


def blade_leaf(seed: int, length: float) -> Sheet:
    """A long, channelled leaf with stripes along it, rising along +x."""
    rng = np.random.default_rng(seed)
    noise = Noise(seed)
    fall = rng.uniform(0.5, 1.1)
    blade = Blade(
        azimuth=column([0.0]),
        length=column([length]),
        pitch=lambda u: column([1.42]) - fall * u**2.2,
        width=lambda u: (0.62 * lance(u, 0.38, 0.8) + 0.05)[None],
        curl=lambda u: 1.5 - 0.9 * u,
        twist=column(rng.normal(0, 0.5, 1)),
        relief=lambda u, v: 0.08 * noise(u * 4, v * 1.5)[None],
    )
    paint = _bloomed(noise)
    return Sheet(blade, paint, through=0.28, gloss=0.08, sheen=12, coarse=(30, 7))


def _bloomed(noise: Noise) -> Field:
    """Green with stripes and a patchy, bluish bloom."""

    def paint(u: Array, v: Array) -> Array:
        stripe = 1 + 0.10 * noise(v * 16, u * 2) + 0.18 * noise.layered(u * 6, v * 2)
        bloom = 0.35 + 0.25 * noise(u * 5, v * 2)
        return (mix(srgb("63994f"), srgb("9dbfa0"), bloom) * stripe[..., None])[None]

    return paint


def plant(seed: int, foot: Sequence[float], hues: Hues, gape: float) -> list[Sheet]:
    """A flower with its stem and leaves; `foot` is the base of the flower."""
    rng = np.random.default_rng(seed)
    turn = rotation("x", rng.normal(0.06, 0.05)) @ rotation("y", rng.normal(0, 0.07))
    # One broad outer petal more or less faces the camera.
    turn = turn @ rotation("z", -np.pi / 2 + rng.normal(0, 0.3))
    foot, up = np.float32(foot), np.float32([0, 0, 1])
    root = foot + np.float32([rng.normal(0, 0.3), 0.2, -8])
    path = np.array([root, root + 3 * up, foot - 3 * up, foot + 0.08 * up])
    sheets = [s.moved(turn, foot) for s in cup(seed, hues, gape)]
    sheets.append(stem(path, 0.16, "7c9a58", seed))
    for k in range(3):
        spin = rotation("z", rng.uniform(0, 2 * np.pi))
        one = blade_leaf(seed + k, rng.uniform(5.2, 6.8))
        sheets.append(one.moved(spin, root + 2.1 * up))
    return sheets


def bed(seed: int) -> list[Sheet]:
    """A row of tulips farther off."""
    rng = np.random.default_rng(seed)
    sheets = []
    for k in range(13):
        x, y = -8.5 + 1.4 * k + rng.normal(0, 0.5), rng.uniform(5, 13)
        place = [x, y, rng.uniform(-2.6, -0.6)]
        sheets += plant(30 + k, place, (PINK, RED, YELLOW)[k % 3], 0.02)
    return sheets


def scene(width: int, height: int) -> Scene:
    """Three tulips side on, a blurred bed of them behind."""
    main = plant(3, [-0.25, 0, -0.7], PINK, 0.10)
    main += plant(8, [2.15, 1.1, -1.3], RED, 0.11)
    main += plant(14, [-2.45, 1.5, -1.0], YELLOW, 0.16)
    tones = ["33521f", "47702b", "6b9a3c", "9cbf62", "2a4420", "b9d084", "587f4a"]
    eye, target = (0, -13, 1.6), (0, 0, -0.2)
    return Scene(
        camera=Camera(eye, target, width, height, zoom=2.0, lens=0.2),
        light=Light(sun=(-0.55, -0.75, 0.6)),
        main=main,
        behind=[(bed(4), 0.017)],
        backdrop=lambda: greenery(width, height, 12, tones, blur=0.045),
        seed=9,
    )
