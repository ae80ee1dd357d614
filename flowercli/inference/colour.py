"""From whatever colours a decoder gives to those of sRGB, which networks learn from and screens show.

A decoded picture of many megapixels is converted in strips, so that no second whole copy of it is made; profiles
(ICC.1) are applied to the resized one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageChops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STRIP_PIXELS = 2**20
# Those of printers have half a megabyte to three.
MOST_PROFILE_BYTES = 4 * 2**20
RESIZABLE = frozenset({"RGB", "L", "CMYK"})
BYTE, WORD = 255.0, 65535.0


def narrowed(image: Image.Image) -> Image.Image:
    """Return a decoded picture as grey, RGB or CMYK of eight bits, on white where it is transparent."""
    if image.mode.startswith("I") or image.mode == "F":
        return _in_strips(image, "L", _scaled_by(_largest(image)))
    if image.has_transparency_data:
        return _in_strips(image, "RGB", _on_white)
    return image if image.mode in RESIZABLE else _in_strips(image, "RGB", lambda strip: strip.convert("RGB"))


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return grey, RGB or CMYK as sRGB, by its colour profile if it has one that can be read."""
    if profile and len(profile) <= MOST_PROFILE_BYTES and (transform := _transform(profile, image.mode)) is not None:
        from PIL import ImageCms

        converted: Image.Image | None = ImageCms.applyTransform(image, transform)
        assert converted is not None  # Only where it is asked to change the picture in its place.
        return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def with_least_black(image: Image.Image) -> Image.Image:
    """Return CMYK of which it is not known whether zero is no ink or all, taken as that of which less is black.

    By ITU-T T.872 zero is no ink in a JPEG without Adobe's marker; many programs store the inverse all the same, and
    Pillow takes it for that. Photographs need little black ink.
    """
    black = np.asarray(image.getchannel("K"))
    return ImageChops.invert(image) if black.mean() > BYTE / 2 else image


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> Any:
    """Return the way from a profile to sRGB; ``None`` where there is none, or nothing to do."""
    import io

    try:
        from PIL import ImageCms
    except ImportError:  # Pillow was built without.
        return None
    try:
        theirs = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(theirs)
        if name.startswith("sRGB") and "linear" not in name.lower():
            return None
        return ImageCms.buildTransform(theirs, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # Damaged, or of another kind of colour than the picture.


def _in_strips(image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    result = Image.new(mode, image.size)
    for box in _strips(image.size):
        result.paste(convert(image.crop(box)), box)
    return result


def _strips(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    width, height = size
    rows = max(1, STRIP_PIXELS // width)
    return ((0, top, width, min(top + rows, height)) for top in range(0, height, rows))


def _on_white(strip: Image.Image) -> Image.Image:
    """What lies under transparent pixels is arbitrary; people see them on white."""
    rgba = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _largest(image: Image.Image) -> float:
    """Return the value of white: of floats, 16-bit and 32-bit greys, of which few files say it."""
    values = np.array(
        [np.fmax.reduce(np.asarray(image.crop(box), np.float64), axis=None) for box in _strips(image.size)]
    )
    largest = float(values[np.isfinite(values)].max(initial=0))
    if image.mode == "F" and largest <= 1:
        return 1.0
    return BYTE if largest <= BYTE else max(WORD, largest)


def _scaled_by(white: float) -> Callable[[Image.Image], Image.Image]:
    def scaled(strip: Image.Image) -> Image.Image:
        values = np.nan_to_num(np.asarray(strip, np.float64) * (BYTE / white), nan=0.0)
        return Image.fromarray(np.clip(values, 0, BYTE).astype(np.uint8))

    return scaled
