"""A rose: cupped petals wound in a spiral, rolled at the rim, over dark leaves."""

from __future__ import annotations

import numpy as np
from camera import Camera
from light import Light
from noise import Noise, mix, smooth, srgb
from plants import Leaf, greenery, lance, plain, stem, veined
from scene import Scene
from shapes import Blade, column
from sheet import Sheet, rotation

Array = np.ndarray
Hues = tuple[str, str, str]
RED = ("8e0518", "c50f2a", "e8506a")


class Petal:
    """One petal; the first stand closed in the middle, the last lie open."""

    def __init__(self, index: int, count: int, seed: int, hues: Hues) -> None:
        """Work out the petal's age (0 inside, 1 outside) and its own whims."""
        rng = np.random.default_rng(seed + index)
        self.noise, self.shift = Noise(seed + index), rng.uniform(0, 99)
        self.age = age = index / (count - 1)
        self.reach = 0.10 + 1.15 * age**0.9
        self.deep, self.body, self.pale = (srgb(code) for code in hues)
        self.roll = 0.15 + 1.9 * age**1.6 + rng.normal(0, 0.12)
        self.half = (0.42 + 0.95 * age**0.8) * rng.uniform(0.95, 1.08)
        self.azimuth = index * 2.39996 + rng.normal(0, 0.15)
        self.length = (1.55 + 0.55 * age) * rng.uniform(0.96, 1.04)

    def pitch(self, u: Array) -> Array:
        """Out from the stem, up, and over at the rim."""
        age, upright = self.age, 1.62 - 0.75 * self.age**1.4
        rise = upright * smooth(-0.15, 0.22 + 0.25 * age, u)
        rise = rise + 0.15 * (1 - age) * u - self.roll * smooth(0.62, 1.05, u)
        return column([0.0]) + rise

    def relief(self, u: Array, v: Array) -> Array:
        """One side tucked in, the edges rolled out, and waves."""
        spiral = 0.13 * v * smooth(0.1, 0.6, u) * (1 - 0.4 * self.age)
        rolled = -0.22 * self.age * smooth(0.55, 1.05, np.abs(v)) * smooth(0.35, 0.9, u)
        wave = self.noise(u * 2.1 + self.shift, v * 1.7 + self.shift) * u
        wave = (0.03 + 0.05 * self.age) * wave
        # Near the tip the sides meet, so what differs between them must fade out.
        return ((spiral + rolled + wave) * _outline(u) ** 1.5)[None]

    def paint(self, u: Array, v: Array) -> Array:
        """Deep red at the foot, paler at the rim, with veins."""
        vein = self.noise(v * 15 + self.shift, u * 2 + self.shift)
        vein = vein + 0.5 * self.noise(v * 40, u * 5)
        colour = mix(self.deep, self.body, smooth(0.1, 0.75, u + 0.05 * vein))
        rim = np.maximum(u, np.abs(v) * smooth(0.3, 0.7, u))
        rim = 0.6 * smooth(0.82, 1.02, rim) + 0.06 * vein
        colour = mix(colour, self.pale, np.clip(rim, 0, 1))
        return (colour * (1 + 0.05 * vein)[..., None])[None]

    def curl(self, u: Array) -> Array:
        """Flat at the foot, then round the flower's axis."""
        return (0.35 + 0.65 * smooth(0, 0.35, u)) / (self.reach + 0.25 * self.age)

    def sheet(self) -> Sheet:
        """The petal as a surface."""
        blade = Blade(
            azimuth=column([self.azimuth]),
            length=column([self.length]),
            pitch=self.pitch,
            width=lambda u: (self.half * _outline(u))[None],
            curl=self.curl,
            start=column([0.04 + 0.19 * self.reach]),
            lift=column([0.28 * (1 - self.age)]),
            relief=self.relief,
        )
        return Sheet(blade, self.paint, through=0.26, gloss=0.05, sheen=10, coarse=(36, 29))


def _outline(u: Array) -> Array:
    """Half-width of a petal with a narrow foot and a broad round top."""
    top = np.clip((u - 0.55) / 0.45, 0, 1)
    return (0.25 + 0.75 * smooth(0, 0.55, u)) * np.clip(1 - top**2.6, 1e-5, 1) ** 0.5


def head(seed: int, count: int = 34) -> list[Sheet]:
    """A whole flower, facing up."""
    return [Petal(i, count, seed, RED).sheet() for i in range(count)]


def leaves(seed: int) -> list[Sheet]:
    """Toothed leaflets round the flower."""
    rng = np.random.default_rng(seed)
    sheets = []
    for k in range(11):
        turn = rotation("z", k * 2.4 + rng.normal(0, 0.2))
        turn = turn @ rotation("y", rng.uniform(-0.2, 0.5))
        place = turn @ np.array([rng.uniform(1.0, 1.9), 0, 0])
        paint = veined("2f5a26", "7f9f5a", seed + k, ribs=8)
        one = Leaf(rng.uniform(2.0, 2.7), 0.85, paint, 0.07, 0.7, seed + k).sheet()
        sheets.append(one.moved(turn, place - [0, 0, 0.9 + 0.12 * k]))
    return sheets


def sepals(seed: int) -> Sheet:
    """Five narrow green sepals under the flower."""
    rng = np.random.default_rng(seed)
    blade = Blade(
        azimuth=column(np.arange(5) * 1.2566),
        length=column(rng.uniform(1.4, 1.8, 5)),
        pitch=lambda u: column(np.full(5, 0.2)) - 0.9 * u,
        width=lambda u: 0.2 * lance(u, 0.2, 0.9) + column(np.zeros(5)),
        start=column([0.1]),
    )
    return Sheet(blade, plain("557f36", 5))


def scene(width: int, height: int) -> Scene:
    """One open rose seen from above the rim, with leaves and a dim garden behind."""
    turn = rotation("z", 0.3) @ rotation("x", 0.5)
    main = [s.moved(turn, [0, 0, 0]) for s in [*head(40), sepals(1)]]
    path = [[0.3, 0.6, -8], [0.2, 0.9, -5], [0, 0.6, -2], [0, 0, 0.1]]
    main += [*leaves(3), stem(np.array(path), 0.15, "5d7f3a")]
    behind = [s.moved(rotation("x", 0.5), [-5.0, 7, -2.6]) for s in head(90, 26)]
    behind += [s.moved(rotation("x", 0.7), [6.2, 10, -3.0]) for s in head(150, 26)]
    tones = ["1c3317", "284a1f", "3c642b", "567f3c", "16280f", "6f9650"]
    eye, target, glow = (0, -9.0, 6.5), (0, 0, 0.55), 0.10 * srgb("e03040")
    return Scene(
        camera=Camera(eye, target, width, height, zoom=1.9, lens=0.14),
        light=Light(sun=(-0.6, -0.3, 0.75), bounce=glow, slack=5.0),
        main=main,
        behind=[(behind, 0.022)],
        backdrop=lambda: greenery(width, height, 21, tones, blur=0.05),
        seed=11,
    )
