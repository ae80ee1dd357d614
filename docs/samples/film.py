"""From linear light to a JPEG: blur, layering, tone curve, glow and grain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

Array = np.ndarray
SHARP = 0.6  # a blur of fewer pixels cannot be seen
KNEE = 0.6  # brightness at which the tone curve leaves the straight


def disc_blur(image: Array, radius: float) -> Array:
    """Blur with an even disc, as a lens does far out of focus."""
    if radius < SHARP:
        return image
    pad = int(radius) + 2
    wide = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    rows, columns = wide.shape[:2]
    y = np.minimum(np.arange(rows), rows - np.arange(rows))[:, None]
    x = np.minimum(np.arange(columns), columns - np.arange(columns))[None, :]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    spectrum = np.fft.rfft2(kernel / kernel.sum())[..., None]
    out = np.fft.irfft2(np.fft.rfft2(wide, axes=(0, 1)) * spectrum, wide.shape[:2], (0, 1))
    return np.float32(out[pad:-pad, pad:-pad])


def enlarge(image: Array, width: int, height: int) -> Array:
    """The same picture at another size."""
    planes = [Image.fromarray(np.float32(image[..., i])) for i in range(image.shape[2])]
    grown = [plane.resize((width, height), Image.Resampling.BICUBIC) for plane in planes]
    return np.stack([np.asarray(plane) for plane in grown], -1)


def over(top: Array, below: Array) -> Array:
    """Premultiplied RGBA laid over an opaque RGB picture."""
    return top[..., :3] + below * (1 - np.clip(top[..., 3:], 0, 1))


def develop(light: Array, seed: int, exposure: float = 1.0, grain: float = 0.009) -> Array:
    """Linear light to 8-bit colour, with glow, vignette, tone curve and grain."""
    height, width = light.shape[:2]
    bright = np.maximum(light * exposure - 0.9, 0)
    image = light * exposure + 0.25 * np.maximum(disc_blur(bright, height / 60), 0)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    image = image * (1 - 0.16 * (x * x + y * y) ** 1.3 / 2)[..., None]
    tone = _curve(np.maximum(image, 0))
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, (height, width, 1)) + 0.4 * rng.normal(0, 1, (height, width, 3))
    tone = tone + grain * noise * (1.1 - tone)
    return (np.clip(tone, 0, 1) * 255 + 0.5).astype(np.uint8)


def _curve(light: Array) -> Array:
    """Film-like response: straight in the middle, a soft shoulder, firm blacks."""
    rest = 1 - KNEE
    soft = np.where(light < KNEE, light, KNEE + rest * (1 - np.exp((KNEE - light) / rest)))
    tone = soft ** (1 / 2.2)
    return tone + 0.06 * np.sin((tone - 0.5) * 2 * np.pi) * 0.5


def save(pixels: Array, path: Path) -> None:
    """Write the picture as a JPEG."""
    Image.fromarray(pixels).save(path, quality=88, optimize=True, progressive=True)
