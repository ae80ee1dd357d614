"""Parts that several flowers share: outlines, stems, leaves, and the backdrop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from film import disc_blur, enlarge
from noise import Noise, mix, smooth, srgb
from PIL import Image, ImageDraw
from shapes import Blade, column, tube
from sheet import Field, Sheet

Array = np.ndarray
BLOBS = 0.35  # share of the far background that is round, not blades


def strap(u: Array, base: float = 0.5, round_from: float = 0.8) -> Array:
    """Half-width (1 at most) of a ray with parallel sides and a round end."""
    end = np.clip((u - round_from) / (1 - round_from), 0, 1)
    return (base + (1 - base) * smooth(0, 0.5, u)) * np.sqrt(1 - 0.88 * end**2)


def lance(u: Array, belly: float = 0.4, point: float = 1.0) -> Array:
    """Half-width (1 at most) of a pointed leaf or petal, widest at `belly`."""
    back = belly / (1 - belly) * point
    shape = np.clip(u, 1e-4, 1) ** back * np.clip(1 - u, 1e-5, 1) ** point
    return shape / (belly**back * (1 - belly) ** point)


def stem(path: Array, radius: float, colour: str, seed: int = 1) -> Sheet:
    """A round stem with faint stripes along it."""
    noise = Noise(seed)

    def paint(u: Array, v: Array) -> Array:
        tone = 1 + 0.18 * noise(v * 9, u * 3) + 0.12 * noise(v * 30, u * 40)
        return (tone[..., None] * srgb(colour))[None]

    shape = tube(path, lambda u: radius * (1 - 0.15 * u))
    return Sheet(shape, paint, through=0.05, gloss=0.08, coarse=(40, 17))


def plain(code: str, count: int = 1) -> Field:
    """Paint of one even colour for `count` surfaces."""

    def paint(u: Array, v: Array) -> Array:
        return srgb(code) * np.ones((count, *(u + v).shape, 1), np.float32)

    return paint


def veined(colour: str, vein: str, seed: int, ribs: float = 9.0) -> Field:
    """Paint of a net-veined leaf: midrib, side veins and mottling."""
    noise = Noise(seed)

    def paint(u: Array, v: Array) -> Array:
        wobble = 0.03 * noise(u * 6, v * 3)
        along = (u * ribs - 3.2 * np.abs(v) + wobble * 6) % 1
        side = np.exp(-(((along - 0.5) / 0.07) ** 2)) * (1 - np.abs(v)) ** 0.5 * 0.6
        middle = np.exp(-((v / 0.035) ** 2))
        tone = 1 + 0.3 * noise.layered(u * 7, v * 5) + 0.12 * noise(u * 60, v * 40)
        base = srgb(colour) * tone[..., None]
        return mix(base, srgb(vein), np.clip(side + middle, 0, 1) * 0.7)[None]

    return paint


@dataclass(frozen=True)
class Leaf:
    """One broad leaf lying along +x, folded a little at its midrib."""

    length: float
    width: float
    paint: Field
    teeth: float = 0.0
    droop: float = 0.9
    seed: int = 0
    belly: float = 0.38

    def half(self, u: Array) -> Array:
        """Half-width with a toothed edge."""
        wave = np.cos(u * 19 * 2 * np.pi + 2 * np.sin(u * 119.4))
        return self.width * lance(u, self.belly, 0.75) * (1 - self.teeth * (0.5 + 0.5 * wave))

    def relief(self, u: Array, v: Array) -> Array:
        """The fold at the midrib, the ribs and some waviness."""
        ribs = np.abs(((u * 9 - 3.2 * np.abs(v)) % 1) - 0.5) * 2
        wave = 0.12 * Noise(self.seed)(u * 4, v * 2)
        return self.width * (0.22 * np.abs(v) + 0.02 * ribs * (1 - v * v) + wave)

    def sheet(self) -> Sheet:
        """The leaf as a surface."""
        blade = Blade(
            azimuth=column([0.0]),
            length=column([self.length]),
            pitch=lambda u: column([0.25]) - self.droop * u,
            width=lambda u: self.half(u)[None],
            relief=self.relief,
        )
        return Sheet(blade, self.paint, through=0.25, gloss=0.05, sheen=10, coarse=(24, 13))


def greenery(width: int, height: int, seed: int, tones: list[str], *, blur: float) -> Array:
    """Out-of-focus plants: layers of leaf shapes, blurred as a wide lens would."""
    rng = np.random.default_rng(seed)
    scale = 0.5
    size = (int(width * scale), int(height * scale))
    picture = None
    for layer, share in enumerate((1.6, 1.0, 0.6)):
        canvas = _strokes(rng, size, tones, picture)
        picture = disc_blur(canvas, blur * share * size[1]) * (0.85 + 0.1 * layer)
    return enlarge(picture, width, height)


def _strokes(
    rng: np.random.Generator,
    size: tuple[int, int],
    tones: list[str],
    below: Array | None,
) -> Array:
    """Random blades and blobs of leaf colour, in linear light."""
    count = 260
    if below is None:
        canvas = Image.new("RGB", size, "#" + tones[0])
    else:
        canvas = Image.fromarray(np.uint8(np.clip(below, 0, 1) ** (1 / 2.2) * 255))
        count //= 3
    pen = ImageDraw.Draw(canvas)
    for _ in range(count):
        _stroke(rng, pen, size, "#" + tones[rng.integers(len(tones))])
    return np.float32(np.asarray(canvas) / 255.0) ** 2.2


def _stroke(
    rng: np.random.Generator,
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    tone: str,
) -> None:
    """One slanting blade or one round blob."""
    wide, tall = size
    x, y = rng.uniform(-0.1, 1.1) * wide, rng.uniform(-0.1, 1.2) * tall
    if rng.random() < BLOBS:
        reach = rng.uniform(0.02, 0.07) * tall
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=tone)
        return
    long, lean = rng.uniform(0.2, 0.7) * tall, rng.normal(0, 0.35)
    thick = rng.uniform(0.008, 0.03) * tall
    top = (x + lean * long, y - long)
    pen.polygon([(x - thick, y), (x + thick, y), top], fill=tone)
