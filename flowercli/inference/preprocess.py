"""Decode, resize and crop a picture into the ``uint8`` pixels that a model takes.

The only preprocessing outside the graph: mean, standard deviation, layout and softmax live in
the exported ONNX. Training, evaluation, calibration and every server call this module, driven by
the spec in the bundle, so no two of them can disagree. No torch here.

The geometry is that of torchvision's ``Resize`` (shorter side to ``input / crop_pct``) followed by
``CenterCrop``, timm's evaluation transform. The two steps are done as one resampling of the cropped
box, which reads and writes fewer pixels; the values agree within Pillow's rounding between its two
passes (a test holds the mean difference under half a grey level).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from PIL import Image

from flowercli.errors import BundleError
from flowercli.inference.decode import MAX_PIXELS, Draft, open_draft

if TYPE_CHECKING:
    import numpy.typing as npt

    from flowercli.inference.decode import Source

# What the graph calls the pixels.
INPUT = "pixels"
# What a server takes of one file.
MAX_BYTES = 32 * 2**20
# What a model may take, in pixels: a side of this size is 50 MB a picture.
MAX_SIDE = 4096
# Less of the resized picture would make of a model's side one that nobody means.
MIN_CROP_PCT = 0.01
# What a mean or a standard deviation of values in 0…1 may be at most, and the latter at least, as its inverse.
MAX_STATISTIC = 1e6
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = frozenset({5, 6, 7, 8})
# Which axes of the stored picture run against those of the upright one: x, y.
MIRRORED = {2: (True, False), 3: (True, True), 4: (False, True), 6: (False, True), 7: (True, True), 8: (True, False)}
RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}


class PreprocessSpec(NamedTuple):
    """How pictures become pixels: the part of timm's ``pretrained_cfg`` that says it.

    ``height`` and ``width`` are in pixels; ``mean`` and ``std`` are per channel for values in 0…1
    and are applied inside the graph.
    """

    height: int
    width: int
    interpolation: str
    crop_pct: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_pretrained_cfg(cls, cfg: dict[str, Any]) -> Self:
        """Read the spec from timm's ``pretrained_cfg``.

        Raises:
            BundleError: a field is missing, or asks for something this version does not do.
        """
        try:
            channels, height, width = cfg["input_size"]
            mean, std = (tuple(map(float, cfg[name])) for name in ("mean", "std"))
            spec = cls(int(height), int(width), str(cfg["interpolation"]), float(cfg["crop_pct"]), mean, std)  # type: ignore[arg-type]  # the length is looked at below
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BundleError(f"The preprocess spec of the model is incomplete: {error!r}.") from error
        wanted = (channels, spec.interpolation in RESAMPLING, cfg.get("crop_mode", "center"), len(mean), len(std))
        sides = 0 < spec.height <= MAX_SIDE and 0 < spec.width <= MAX_SIDE
        if wanted != (3, True, "center", 3, 3) or not (sides and MIN_CROP_PCT <= spec.crop_pct <= 1 and spec.is_usable):
            raise BundleError(f"The preprocess spec of the model is not supported: {str(cfg)[:500]}.")
        return spec

    @property
    def is_usable(self) -> bool:
        """Whether pixels are still numbers once mean and standard deviation have been applied to them."""
        means = all(abs(value) <= MAX_STATISTIC for value in self.mean)
        return means and all(1 / MAX_STATISTIC <= value <= MAX_STATISTIC for value in self.std)

    @property
    def resize_to(self) -> tuple[int, int]:
        """Height and width that the crop is cut out of, as timm computes them."""
        return math.floor(self.height / self.crop_pct), math.floor(self.width / self.crop_pct)


class Picture(NamedTuple):
    """The pixels for a model, ``uint8`` ``[height, width, 3]``, and the size of the upright picture they come from."""

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int

    @property
    def brightness(self) -> float:
        """The mean of the pixels, 0…255."""
        return float(self.pixels.mean())


def load_picture(source: Source, spec: PreprocessSpec, most_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a file, the bytes of one, or an image of Pillow's into what a model takes, and tell its size.

    Raises:
        ImageError: the picture cannot be read, or has more pixels than are wanted; its ``code`` says why.
    """
    with open_draft(source, min(spec.resize_to), most_pixels) as draft:
        width, height = draft.size
        pixels = np.asarray(crop_and_resize(draft, spec))
    return Picture(pixels, *((height, width) if draft.orientation in SIDEWAYS else (width, height)))


def load_pixels(source: Source, spec: PreprocessSpec) -> npt.NDArray[np.uint8]:
    """Decode a file or the bytes of one into upright, resized, cropped RGB pixels.

    Returns:
        ``uint8`` array ``[height, width, 3]``.

    Raises:
        ImageError: the picture cannot be read; its ``code`` says why.
    """
    return load_picture(source, spec).pixels


def load_upright(source: Source, shorter_side: int) -> Image.Image:
    """Decode a picture as an upright RGB image whose shorter side is at least ``shorter_side`` if it was.

    Raises:
        ImageError: the picture cannot be read.
    """
    with open_draft(source, shorter_side) as draft:
        return _upright(draft.in_srgb(draft.image), draft.orientation)


def crop_and_resize(draft: Draft, spec: PreprocessSpec) -> Image.Image:
    """Cut the centre of a picture and resample it to the size of the spec, in sRGB and upright."""
    image, orientation = draft.image, draft.orientation
    sideways = orientation in SIDEWAYS
    upright_size = (image.height, image.width) if sideways else image.size
    box = center_box(upright_size, (spec.height, spec.width), spec.crop_pct)
    size = (spec.height, spec.width) if sideways else (spec.width, spec.height)
    stored_box = _stored_box(box, image.size, orientation)
    resized = image.resize(size, RESAMPLING[spec.interpolation], box=stored_box)
    return _upright(draft.in_srgb(resized), orientation)


def center_box(size: tuple[int, int], target: tuple[int, int], crop_pct: float) -> tuple[float, float, float, float]:
    """Return the box of the source image that ``Resize`` then ``CenterCrop`` would keep.

    Args:
        size: width and height of the image, in pixels.
        target: height and width of the result, in pixels.
        crop_pct: the share of the resized shorter side that the crop keeps.

    Returns:
        left, upper, right, lower in source pixels, within the image.
    """
    (image_width, image_height), (height, width) = size, target
    scale = max(math.floor(height / crop_pct) / image_height, math.floor(width / crop_pct) / image_width)
    # Truncated, as torchvision truncates the longer side.
    resized_width = max(width, int(image_width * scale + 1e-6))
    resized_height = max(height, int(image_height * scale + 1e-6))
    left, top = round((resized_width - width) / 2.0), round((resized_height - height) / 2.0)
    per_x, per_y = image_width / resized_width, image_height / resized_height
    right, lower = min((left + width) * per_x, image_width), min((top + height) * per_y, image_height)
    return left * per_x, top * per_y, right, lower


def _stored_box(
    box: tuple[float, float, float, float], size: tuple[int, int], orientation: int
) -> tuple[float, float, float, float]:
    """Turn a box of the upright picture into the same box of the picture as it is stored."""
    left, top, right, bottom = box
    if orientation in SIDEWAYS:
        left, top, right, bottom = top, left, bottom, right
    mirrored_x, mirrored_y = MIRRORED.get(orientation, (False, False))
    if mirrored_x:
        left, right = size[0] - right, size[0] - left
    if mirrored_y:
        top, bottom = size[1] - bottom, size[1] - top
    return left, top, right, bottom


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    method = UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)
