"""A daisy: narrow white rays round a yellow dome of florets."""

from __future__ import annotations

import numpy as np
from camera import Camera
from light import Light
from noise import Noise, mix, smooth, srgb
from plants import greenery, plain, stem, strap
from scene import Scene
from shapes import Blade, column, dome, spiral
from sheet import Field, Sheet, rotation

Array = np.ndarray
RADIUS = 0.92


class Rays:
    """One whorl of white rays, each a little unlike the next."""

    def __init__(self, seed: int, count: int, pitch: float, length: float) -> None:
        """Draw what differs from ray to ray."""
        rng = np.random.default_rng(seed)
        self.noise, self.shift = Noise(seed), column(rng.uniform(0, 99, count))
        self.climb = column(rng.normal(pitch, 0.09, count))
        self.fall = column(rng.normal(0.3, 0.18, count))
        self.half = column(rng.uniform(0.20, 0.26, count))
        place = np.arange(count) + rng.normal(0, 0.16, count)
        self.azimuth = column(place * 2 * np.pi / count)
        self.length = column(length * rng.uniform(0.92, 1.05, count))
        self.bend = column(rng.normal(0, 0.05, count))
        self.twist = column(rng.normal(0, 0.28, count))

    def relief(self, u: Array, v: Array) -> Array:
        """Shallow grooves along the ray."""
        groove = np.cos(v * 3 * np.pi + 0.4 * np.sin(self.shift))
        groove = 0.014 * groove * smooth(0.02, 0.3, u) * (1 - 0.4 * u)
        return groove + 0.035 * self.noise(u * 3 + self.shift, v * 1.2 + self.shift)

    def tip(self, u: Array, v: Array) -> Array:
        """Faint notches in the rounded end."""
        notches = 0.014 * np.cos(v * 2.2 * np.pi + self.shift)
        return notches * smooth(0.8, 1, u) - 0.03 * v * v * smooth(0.9, 1, u)

    def paint(self, u: Array, v: Array) -> Array:
        """White, greenish at the foot."""
        line = 0.05 * self.noise(v * 14 + self.shift, u * 1.5 + self.shift)
        white = srgb("fbfaf6") * (0.94 + line)[..., None]
        return mix(white, srgb("cfd07a"), np.exp(-u / 0.10) * 0.8 + 0 * v)

    def sheet(self) -> Sheet:
        """The whorl as surfaces."""
        blade = Blade(
            azimuth=self.azimuth,
            length=self.length,
            pitch=lambda u: self.climb + 0.35 * np.exp(-u * 6) - self.fall * u**1.5,
            width=lambda u: self.half * strap(u, 0.42, 0.78),
            curl=lambda u: 0.9 + 0 * u,
            start=column([RADIUS * 0.86]),
            bend=self.bend,
            twist=self.twist,
            tip=self.tip,
            relief=self.relief,
        )
        return Sheet(blade, self.paint, through=0.32, gloss=0.03, coarse=(18, 7))


def disc(seed: int, count: int = 620) -> list[Sheet]:
    """The yellow dome and its florets: buds in the middle, open ones outside."""
    rng = np.random.default_rng(seed)
    share, turn = spiral(count)
    x, y = share * np.cos(turn), share * np.sin(turn)
    height = 0.40 * np.sqrt(1.05 - share**2) - 0.05 * np.exp(-((share / 0.25) ** 2))
    centre = np.stack([x * RADIUS, y * RADIUS, height], 1)
    lean = np.stack([x, y, 1.1 - 0.5 * share], 1) + rng.normal(0, 0.10, (count, 3))
    size = (0.024 + 0.018 * share) * rng.uniform(0.85, 1.15, count)
    tall = size * (1.3 + 1.3 * share) * rng.uniform(0.7, 1.3, count)
    bumps = dome(np.float32(centre), lean, size, tall)
    paint = _floret_paint(share, rng)
    florets = Sheet(bumps, paint, through=0.15, gloss=0.03, coarse=(5, 7))
    base = dome(np.float32([[0, 0, -0.02]]), np.float32([[0, 0, 1]]), [RADIUS], [0.38])
    return [florets, Sheet(base, plain("a8780a"), coarse=(20, 20))]


def _floret_paint(share: Array, rng: np.random.Generator) -> Field:
    """Green-yellow in the middle to deep yellow at the rim, pale at the top."""
    ring = smooth(0.15, 0.75, column(share))
    tone = column(rng.uniform(0.85, 1.1, len(share)))

    def paint(u: Array, v: Array) -> Array:
        body = mix(srgb("d9b614"), srgb("f2ad08"), ring + 0 * u)
        top = np.exp(-((u / 0.45) ** 2)) * (0.7 + 0 * ring)
        colour = mix(body, srgb("ffe14a"), top)
        return colour * tone[..., None] + 0 * v[None, ..., None]

    return paint


def head(seed: int) -> list[Sheet]:
    """A whole flower head, facing up, its middle at the origin."""
    upper, lower = Rays(seed, 21, 0.10, 2.3), Rays(seed + 1, 19, -0.06, 2.4)
    return [upper.sheet(), lower.sheet(), *disc(seed + 2)]


def scene(width: int, height: int) -> Scene:
    """A daisy leaning to the camera over a blurred lawn, others behind it."""
    turn = rotation("z", 0.2) @ rotation("x", 0.62)
    main = [s.moved(turn, [0.25, 0, 0.25]) for s in head(3)]
    path = [[0.7, 0.4, -9], [0.5, 1.2, -5], [0.5, 1.3, -2.4], [0.25, 0.05, 0.1]]
    main.append(stem(np.array(path), 0.13, "6f8f3a"))
    behind = []
    for seed, place, lean in ((11, [-6.5, 10, -0.9], 0.5), (17, [7.2, 13, -2.0], 0.7)):
        behind += [s.moved(rotation("x", lean), place) for s in head(seed)]
    camera = Camera((0, -11, 6.2), (0, 0, -0.15), width, height, zoom=1.75, lens=0.16)
    tones = ["2f4a1a", "3f6a22", "5b8a2c", "7fae3e", "294016", "9cc257", "446f2a"]
    return Scene(
        camera=camera,
        light=Light(sun=(-0.55, -0.35, 0.8)),
        main=main,
        behind=[(behind, 0.026)],
        backdrop=lambda: greenery(width, height, 5, tones, blur=0.05),
        exposure=1.05,
        seed=7,
    )
