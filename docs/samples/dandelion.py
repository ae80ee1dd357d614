"""A dandelion in grass: straps of yellow in many layers, and toothed leaves."""

from __future__ import annotations

import numpy as np
from camera import Camera
from light import Light
from noise import Noise, mix, smooth, srgb
from plants import greenery, lance, plain, stem, strap
from scene import Scene
from shapes import Blade, column, spiral
from sheet import Sheet, rotation

Array = np.ndarray


class Straps:
    """All the rays, from the long level outer ones to the short upright inner."""

    def __init__(self, seed: int, count: int = 480) -> None:
        """Draw what differs from ray to ray; `share` is 0 inside and 1 outside."""
        rng = np.random.default_rng(seed)
        share, turn = spiral(count, 0.5)
        self.noise, self.shift = Noise(seed), column(rng.uniform(0, 99, count))
        self.share = column(share)
        climb = 0.10 + 1.25 * (1 - share) ** 1.15
        self.climb = column(climb + rng.normal(0, 0.09, count))
        self.fall = column(rng.normal(0.33, 0.11, count))
        self.half = column(rng.uniform(0.044, 0.060, count) * (0.55 + 0.45 * share))
        self.azimuth = column(turn + rng.normal(0, 0.06, count))
        long = (0.95 + 1.45 * share) * rng.uniform(0.90, 1.06, count)
        self.length = column(long)
        self.bend = column(rng.normal(0, 0.06, count))
        self.twist = column(rng.normal(0, 0.4, count))

    def tip(self, u: Array, v: Array) -> Array:
        """The five small teeth of the cut-off end."""
        teeth = 0.026 * np.cos(v * 5 * np.pi) * smooth(0.86, 1, u)
        return teeth + 0 * self.shift

    def relief(self, u: Array, v: Array) -> Array:
        """Fine grooves between the teeth."""
        groove = 0.006 * np.cos(v * 4 * np.pi) * smooth(0, 0.3, u)
        return groove + 0.03 * self.noise(u * 3 + self.shift, v + self.shift)

    def paint(self, u: Array, v: Array) -> Array:
        """Lemon outside, deeper yellow towards the heart."""
        deep = np.clip(0.75 - self.share * 0.75 + 0.35 * (1 - u), 0, 1)
        colour = mix(srgb("ffe81a"), srgb("ffbe00"), deep + 0 * v)
        tone = 1 + 0.10 * self.noise(v * 8 + self.shift, u * 2 + self.shift)
        return colour * tone[..., None]

    def sheet(self) -> Sheet:
        """The rays as surfaces."""
        blade = Blade(
            azimuth=self.azimuth,
            length=self.length,
            pitch=lambda u: self.climb - self.fall * u**1.3,
            width=lambda u: self.half * strap(u, 0.5, 0.975),
            curl=lambda u: 4.0 - 3.0 * u,
            start=0.38 * self.share,
            lift=0.12 - 0.18 * self.share,
            bend=self.bend,
            twist=self.twist,
            tip=self.tip,
            relief=self.relief,
        )
        return Sheet(blade, self.paint, through=0.34, gloss=0.03, coarse=(14, 5))


def stigmas(seed: int, count: int = 190) -> Sheet:
    """Fine curled threads that stand above the rays."""
    rng = np.random.default_rng(seed)
    share, turn = spiral(count)
    climb, coil = column(1.45 - 0.8 * share), column(rng.normal(2.4, 0.9, count))
    blade = Blade(
        azimuth=column(turn + rng.normal(0, 0.3, count)),
        length=column(rng.uniform(0.72, 0.98, count)),
        pitch=lambda u: climb - coil * smooth(0.6, 1.1, u),
        width=lambda u: 0.017 * np.sqrt(1.02 - u) + column(0 * share),
        curl=lambda u: 40 + 0 * u,
        start=column(0.05 + 0.62 * share),
        lift=column(0.16 - 0.12 * share),
        bend=column(rng.normal(0, 0.2, count)),
    )
    return Sheet(blade, plain("ffd21a", count), through=0.25, coarse=(10, 3))


def bracts(seed: int, count: int = 26) -> Sheet:
    """Green bracts below the head, some of them turned down."""
    rng = np.random.default_rng(seed)
    climb = column(rng.normal(-0.3, 0.5, count))
    blade = Blade(
        azimuth=column(np.arange(count) * 2.4),
        length=column(rng.uniform(0.7, 1.0, count)),
        pitch=lambda u: climb + 0.6 * u,
        width=lambda u: 0.11 * lance(u, 0.3, 0.8) + 0 * climb,
        curl=lambda u: 3.0 + 0 * u,
        start=column([0.3]),
        lift=column([-0.3]),
    )
    return Sheet(blade, plain("5f7f33", count), coarse=(8, 3))


def head(seed: int) -> list[Sheet]:
    """A whole head, facing up, its middle at the origin."""
    return [Straps(seed).sheet(), stigmas(seed + 1), bracts(seed + 2)]


class ToothedLeaf:
    """The long leaf whose jagged teeth point back to the root."""

    def __init__(self, seed: int) -> None:
        """Draw what sets this leaf apart."""
        self.noise, self.seed = Noise(seed), seed
        self.rise = np.random.default_rng(seed).uniform(0.5, 0.9)

    def half(self, u: Array) -> Array:
        """Half-width: lobes that merge into one broad tip."""
        # Each tooth rises steeply on the root's side and falls slowly to the tip.
        saw = (u * 6.4 + 0.35 + 0.25 * np.sin(u * 9 + self.seed)) % 1
        lobes = 0.22 + 0.78 * smooth(0, 0.22, saw) * (1 - smooth(0.15, 1, saw))
        end = smooth(0.80, 0.9, u)
        return 0.95 * lance(u, 0.66, 0.5) * (lobes * (1 - end) + 0.75 * end) + 0.05

    def relief(self, u: Array, v: Array) -> Array:
        """A fold at the midrib, and waves."""
        return 0.15 * np.abs(v) + 0.12 * self.noise(u * 9, v * 1.5)

    def tip(self, u: Array, v: Array) -> Array:
        """The teeth lean back to the root."""
        return (-0.07 * np.abs(v) ** 1.5 * self.half(u))[None]

    def paint(self, u: Array, v: Array) -> Array:
        """Mottled green with a pale midrib."""
        fine = 0.1 * self.noise(u * 90, v * 25)
        tone = 1 + 0.28 * self.noise.layered(u * 12, v * 3) + fine
        middle = np.exp(-((v * self.half(u) / 0.03) ** 2)) * 0.6
        return mix(srgb("4f8330") * tone[..., None], srgb("b9c98c"), middle)[None]

    def sheet(self) -> Sheet:
        """The leaf as a surface, lying along +x."""
        blade = Blade(
            azimuth=column([0.0]),
            length=column([6.5]),
            pitch=lambda u: column([self.rise]) - 1.3 * u,
            width=lambda u: self.half(u)[None],
            relief=self.relief,
            tip=self.tip,
        )
        return Sheet(blade, self.paint, through=0.25, gloss=0.06, coarse=(40, 9))


class Grass:
    """Blades of grass rooted on the ground between two distances."""

    def __init__(self, seed: int, count: int, near: float, far: float) -> None:
        """Draw what differs from blade to blade."""
        rng = np.random.default_rng(seed)
        x, y = rng.uniform(-9, 9, count), rng.uniform(near, far, count)
        roots = np.stack([x, y, np.full(count, -5.6)], 1).astype(np.float32)
        self.roots = roots[:, None, None, :]
        self.climb = column(rng.normal(1.45, 0.12, count))
        self.fall = column(rng.gamma(3, 0.35, count))
        self.noise, self.shift = Noise(seed), column(rng.uniform(0, 99, count))
        self.half = column(rng.uniform(0.09, 0.2, count))
        self.azimuth = column(rng.uniform(0, 2 * np.pi, count))
        self.shade = column(rng.uniform(0.6, 1.3, count))
        self.length = column(rng.uniform(3.5, 7.0, count))
        self.twist = column(rng.normal(0, 0.8, count))

    def tone(self, u: Array, v: Array) -> Array:
        """Stripes along the blade; the foot stands in the dark."""
        stripe = 0.16 * self.noise(v * 7 + self.shift, u * 3)
        patch = 0.1 * self.noise(u * 8 + self.shift, self.shift)
        return (1 + stripe + patch) * self.shade * (0.55 + 0.6 * u)

    def sheet(self, colour: str) -> Sheet:
        """The blades as surfaces."""
        blade = Blade(
            azimuth=self.azimuth,
            length=self.length,
            pitch=lambda u: self.climb - self.fall * u**1.6,
            width=lambda u: self.half * np.sqrt(np.clip(1 - u**2, 1e-4, 1)),
            curl=lambda u: 4.0 + 0 * u,
            twist=self.twist,
        )
        return Sheet(
            lambda u, v: blade(u, v) + self.roots,
            lambda u, v: srgb(colour) * self.tone(u, v)[..., None],
            through=0.35,
            gloss=0.06,
            coarse=(14, 3),
        )


def scene(width: int, height: int) -> Scene:
    """A dandelion seen from above the grass, with a second one behind."""
    turn = rotation("z", 0.4) @ rotation("x", 0.55)
    main = [s.moved(turn, [0, 0, 0.2]) for s in head(5)]
    path = [[0.5, 0.9, -7], [0.2, 1.1, -4], [0.1, 0.9, -2], [0, 0.08, 0]]
    main.append(stem(np.array(path), 0.17, "8a9a55"))
    for seed, angle in ((1, 2.6), (2, 0.4), (4, -0.7), (6, 3.7)):
        main.append(ToothedLeaf(seed).sheet().moved(rotation("z", angle), [0, 0.9, -3.4]))
    main.append(Grass(8, 70, 0.8, 3.5).sheet("4f8028"))
    lawn = [Grass(9, 190, 3.5, 9).sheet("3d6a20")]
    behind = [s.moved(rotation("x", 0.3), [-5.6, 11, -2.0]) for s in head(31)]
    behind += [s.moved(rotation("x", 0.4), [-0.5, 15, 5.4]) for s in head(37)]
    camera = Camera((0, -10.5, 7.0), (0, 0, -0.2), width, height, zoom=1.8, lens=0.2)
    tones = ["1c3013", "284717", "3a641f", "55822d", "182a10", "6f9a3a"]
    return Scene(
        camera=camera,
        light=Light(sun=(-0.5, -0.3, 0.85), bounce=0.42 * srgb("f0c000")),
        main=main,
        behind=[(lawn, 0.006), (behind, 0.022)],
        backdrop=lambda: greenery(width, height, 9, tones, blur=0.03),
        seed=3,
    )
