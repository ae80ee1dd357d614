"""A sunflower: a broad brown disc in spirals, pointed golden rays, blue sky."""

from __future__ import annotations

import numpy as np
from camera import Camera
from light import Light
from noise import Noise, mix, smooth, srgb
from plants import Leaf, greenery, lance, plain, stem, veined
from scene import Scene
from shapes import Blade, column, dome, spiral
from sheet import Field, Sheet, rotation

Array = np.ndarray
RADIUS = 1.75
GOLDEN = 0.75  # share of the open florets that have golden tips


class Rays:
    """One whorl of pointed golden petals, each a little unlike the next."""

    def __init__(self, seed: int, count: int, pitch: float, length: float) -> None:
        """Draw what differs from petal to petal."""
        rng = np.random.default_rng(seed)
        self.noise, self.shift = Noise(seed), column(rng.uniform(0, 99, count))
        self.climb = column(rng.normal(pitch, 0.16, count))
        self.fall = column(rng.normal(0.2, 0.5, count))
        self.half = column(rng.uniform(0.31, 0.42, count))
        self.gold = column(rng.uniform(0, 1, count))
        self.azimuth = _around(rng, count, 0.22)
        self.length = column(length * rng.uniform(0.78, 1.12, count))
        self.bend = column(rng.normal(0, 0.10, count))
        self.twist = column(rng.normal(0, 0.7, count))

    def relief(self, u: Array, v: Array) -> Array:
        """Ribs along the petal, and waves."""
        ribs = 0.012 * np.cos(v * 5 * np.pi) * lance(u, 0.4, 0.6)
        return ribs + 0.10 * self.noise(u * 2.5 + self.shift, v * 1.1 + self.shift)

    def paint(self, u: Array, v: Array) -> Array:
        """Gold, more orange towards the disc."""
        warm = np.clip(0.75 * np.exp(-u / 0.28) + 0.25 * self.gold, 0, 1)
        colour = mix(srgb("ffc408"), srgb("ea8200"), warm + 0 * v)
        vein = 0.12 * self.noise(v * 11 + self.shift, u * 1.5 + self.shift)
        return colour * (1 + vein + 0.06 * self.noise(v * 30, u * 4))[..., None]

    def width(self, u: Array) -> Array:
        """Half-width: a lance with a broad foot."""
        return self.half * (0.25 * (1 - u) + lance(u, 0.42, 0.75)) * (1 - 0.05 * u)

    def sheet(self) -> Sheet:
        """The whorl as surfaces."""
        blade = Blade(
            azimuth=self.azimuth,
            length=self.length,
            pitch=lambda u: self.climb - self.fall * u**1.4,
            width=self.width,
            curl=lambda u: 1.1 + 0.8 * u,
            start=column([RADIUS * 0.93]),
            lift=column([-0.05]),
            bend=self.bend,
            twist=self.twist,
            relief=self.relief,
        )
        return Sheet(blade, self.paint, through=0.36, gloss=0.04, coarse=(18, 7))


def _around(rng: np.random.Generator, count: int, spread: float) -> Array:
    """Azimuths all round the head, not quite even."""
    place = np.arange(count) + rng.normal(0, spread, count)
    return column(place * 2 * np.pi / count)


def disc(seed: int, count: int = 900) -> list[Sheet]:
    """Florets in spirals: dark buds inside, open yellow-brown ones at the rim."""
    rng = np.random.default_rng(seed)
    share, turn = spiral(count)
    x, y = share * np.cos(turn), share * np.sin(turn)
    dip = 0.22 * np.exp(-((share / 0.35) ** 2))
    height = 0.16 + 0.28 * np.sqrt(1.02 - share**2) - dip
    centre = np.stack([x * RADIUS, y * RADIUS, height], 1)
    lean = np.stack([x, y, 1.3 + 0 * share], 1) + rng.normal(0, 0.16, (count, 3))
    opened = smooth(0.62, 0.85, share)
    size = (0.034 + 0.010 * share) * rng.uniform(0.85, 1.15, count)
    tall = size * (1.2 + 2.4 * opened * rng.uniform(0.6, 1.3, count))
    bumps = dome(np.float32(centre), lean, size, tall)
    paint = _floret_paint(share, opened, rng)
    florets = Sheet(bumps, paint, through=0.1, gloss=0.06, coarse=(5, 7))
    base = dome(np.float32([[0, 0, -0.05]]), np.float32([[0, 0, 1]]), [RADIUS], [0.18])
    return [florets, Sheet(base, plain("1d0f06"), coarse=(20, 20))]


def _floret_paint(share: Array, opened: Array, rng: np.random.Generator) -> Field:
    """Green-brown heart, near-black ring, golden tips on the open florets."""
    tone = column(rng.uniform(0.7, 1.25, len(share)))
    heart, ring = column(1 - smooth(0.12, 0.42, share)), column(opened)
    golden = column((rng.random(len(share)) < GOLDEN) * opened)

    def paint(u: Array, v: Array) -> Array:
        body = mix(srgb("24120a"), srgb("33260f"), heart)
        body = mix(body, srgb("5a2c0c"), ring)
        top = np.exp(-((u / 0.5) ** 2))
        colour = mix(body + 0 * u[..., None], srgb("d88a10"), top * golden * 0.9)
        colour = mix(colour, srgb("6b5a28"), top * heart * 0.5)
        return colour * tone[..., None] + 0 * v[None, ..., None]

    return paint


def sepals(seed: int, count: int = 24) -> Sheet:
    """Green bracts that show between the rays."""
    rng = np.random.default_rng(seed)
    climb = column(rng.normal(-0.3, 0.12, count))
    blade = Blade(
        azimuth=_around(rng, count, 0.2),
        length=column(rng.uniform(1.2, 1.8, count)),
        pitch=lambda u: climb + 0.15 * u,
        width=lambda u: 0.36 * lance(u, 0.25, 0.9) + 0 * climb,
        curl=lambda u: 1.2 + 0 * u,
        start=column([RADIUS * 0.9]),
        lift=column([-0.3]),
    )
    return Sheet(blade, plain("6c9a34", count), through=0.25, coarse=(10, 5))


def head(seed: int) -> list[Sheet]:
    """A whole head, facing up, its middle at the origin."""
    upper, lower = Rays(seed, 29, 0.34, 2.1), Rays(seed + 1, 31, 0.06, 2.55)
    return [upper.sheet(), lower.sheet(), sepals(seed + 2), *disc(seed + 3)]


def leaves() -> list[Sheet]:
    """Three broad leaves on the upper stem."""
    spots = ((1, -0.35, -4.3, 4.6), (2, 3.3, -3.7, 4.4), (3, 0.5, -5.4, 4))
    sheets = []
    for seed, angle, low, long in spots:
        paint = veined("4d8030", "a8c078", seed)
        one = Leaf(long, 1.7, paint, 0.06, 1.1, seed, belly=0.30).sheet()
        turn = rotation("z", angle) @ rotation("x", 0.5)
        sheets.append(one.moved(turn, [0.7, 1.5, low]))
    return sheets


def sky(width: int, height: int, seed: int) -> Array:
    """Blue sky, deeper at the top, with faint high cloud."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : width / height : width * 1j]
    cloud = np.clip(Noise(seed).layered(x * 2.2 + y, y * 3.5, 4) + 0.05, 0, 1) ** 1.5
    blue = mix(srgb("2f74c9"), srgb("8fbdea"), y**1.1)
    return np.float32(mix(blue, srgb("f4f7fb"), 0.5 * cloud * (0.3 + 0.7 * y)))


def land(width: int, height: int) -> Array:
    """The sky over a far, blurred field."""
    tones = ["3c5a22", "54772c", "7a9c3a", "2c441b", "93ad48"]
    green = greenery(width, height, 14, tones, blur=0.02)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : width / height : width * 1j]
    edge = 0.80 + 0.02 * Noise(3)(x * 7, 0 * x)
    return np.float32(mix(sky(width, height, 2), green, smooth(-0.02, 0.02, y - edge)))


def field(seed: int) -> list[Sheet]:
    """Far heads of the same field."""
    rng = np.random.default_rng(seed)
    sheets = []
    for k in range(9):
        far = rng.uniform(12, 26)
        low = -(14 + far) * 0.19 + rng.normal(0, 0.3)
        turn = rotation("z", rng.normal(-0.2, 0.2))
        turn = turn @ rotation("x", rng.uniform(1.0, 1.4))
        place = [(k - 4) * (14 + far) / 6.2, far, low]
        sheets += [s.moved(turn, place) for s in head(60 + 7 * k)]
    return sheets


def scene(width: int, height: int) -> Scene:
    """A sunflower that looks just past the camera, leaves below, sky behind."""
    turn = rotation("z", -0.22) @ rotation("x", 1.22)
    main = [s.moved(turn, [0.1, 0, 0.35]) for s in head(4)]
    path = [[0.9, 1.3, -9], [0.7, 1.7, -5], [0.5, 1.9, -1.2], [0.15, 0.25, 0.3]]
    main += [stem(np.array(path), 0.26, "6f8f3a"), *leaves()]
    eye, target = (0, -14, 0.2), (0.1, 0, -0.25)
    return Scene(
        camera=Camera(eye, target, width, height, zoom=1.42, lens=0.15),
        light=Light(sun=(-0.5, -0.6, 0.7)),
        main=main,
        behind=[(field(6), 0.016)],
        backdrop=lambda: land(width, height),
        seed=5,
    )
