"""Hide where a photograph comes from: encode it anew, blur it, or take its detail away, at random.

Datasets are compressed and scaled each in its own way. Where one of them holds all pictures of a class, or all that
show no flower, a network may learn the traces of its encoder instead.
"""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable

QUALITY = (25, 95)
BLUR_RADIUS = (0.3, 1.5)  # pixels
SMALLEST = 0.4  # of the side, when detail is taken away


class Disguise:
    """A transform of RGB images; each of the three changes happens with the given probability."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the image, of the same size, changed by what is drawn from Python's ``random``."""
        for change in CHANGES:
            if random.random() < self.probability:  # noqa: S311
                image = change(image)
        return image


def _coarser(image: Image.Image) -> Image.Image:
    scale = random.uniform(SMALLEST, 1)  # noqa: S311
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), _any_filter())
    return small.resize(image.size, _any_filter())


def _blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(random.uniform(*BLUR_RADIUS)))  # noqa: S311


def _encoded(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, random.choice(("JPEG", "WEBP")), quality=random.randint(*QUALITY), method=0)  # noqa: S311
    return Image.open(buffer).convert("RGB")


def _any_filter() -> Image.Resampling:
    return random.choice((Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS))  # noqa: S311


CHANGES: tuple[Callable[[Image.Image], Image.Image], ...] = (_coarser, _blurred, _encoded)
