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

import errno
import io
import math
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image, UnidentifiedImageError

from flowercli.errors import BundleError, ImageError

if TYPE_CHECKING:
    import numpy.typing as npt

# What the graph calls the pixels.
INPUT = "pixels"
# Pillow refuses pictures above twice its own MAX_IMAGE_PIXELS and warns above it once. A phone
# takes 200-megapixel pictures today, and a JPEG of that size is decoded here at an eighth of it.
MAX_PIXELS = 268_435_456
# What a format that cannot be decoded at a smaller scale may cost: 89 megapixels, 270 MB.
MAX_FULL_DECODE_PIXELS = 89_478_485
# What a server takes of one file.
MAX_BYTES = 32 * 2**20
EXIF_ORIENTATION = 0x0112
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


@dataclass(frozen=True)
class PreprocessSpec:
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
            mean, std = tuple(cfg["mean"]), tuple(cfg["std"])
            spec = cls(int(height), int(width), cfg["interpolation"], float(cfg["crop_pct"]), mean, std)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"The preprocess spec of the model is incomplete: {error!r}.") from error
        wanted = (channels, spec.interpolation in RESAMPLING, cfg.get("crop_mode", "center"))
        if wanted != (3, True, "center") or not 0 < spec.crop_pct <= 1:
            raise BundleError(f"The preprocess spec of the model is not supported: {cfg}.")
        return spec

    @property
    def resize_to(self) -> tuple[int, int]:
        """Height and width that the crop is cut out of, as timm computes them."""
        return math.floor(self.height / self.crop_pct), math.floor(self.width / self.crop_pct)


def load_pixels(source: str | os.PathLike[str] | bytes, spec: PreprocessSpec) -> npt.NDArray[np.uint8]:
    """Decode a file or the bytes of one into upright, resized, cropped RGB pixels.

    Returns:
        ``uint8`` array ``[height, width, 3]``.

    Raises:
        ImageError: the picture cannot be read; its ``code`` says why.
    """
    return np.asarray(crop_and_resize(*_open_draft(source, min(spec.resize_to)), spec))


def load_upright(source: str | os.PathLike[str] | bytes, shorter_side: int) -> Image.Image:
    """Decode a picture as an upright RGB image whose shorter side is at least ``shorter_side`` if it was.

    Raises:
        ImageError: the picture cannot be read.
    """
    image, orientation = _open_draft(source, shorter_side)
    return _upright(image, orientation)


def crop_and_resize(image: Image.Image, orientation: int, spec: PreprocessSpec) -> Image.Image:
    """Cut the centre of an RGB image and resample it to the size of the spec, then turn it upright."""
    sideways = orientation in SIDEWAYS
    upright_size = (image.height, image.width) if sideways else image.size
    box = center_box(upright_size, (spec.height, spec.width), spec.crop_pct)
    size = (spec.height, spec.width) if sideways else (spec.width, spec.height)
    stored_box = _stored_box(box, image.size, orientation)
    return _upright(image.resize(size, RESAMPLING[spec.interpolation], box=stored_box), orientation)


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


def _open_draft(source: str | os.PathLike[str] | bytes, shorter_side: int) -> tuple[Image.Image, int]:
    """Decode to RGB, JPEGs at the smallest scale that still has the shorter side; with the orientation."""
    try:
        with _open(source) as image:
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
            image.draft("RGB", _draft_size(image.size, shorter_side))
            _check_size(image)
            image.load()
            return _to_rgb(image), orientation
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError("not_found", "There is no such file.") from error
    except PermissionError as error:
        raise ImageError("not_permitted", "Reading it is not permitted.") from error
    except UnidentifiedImageError as error:
        raise ImageError("not_an_image", "It is not a picture in a format that can be read.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError("too_large", "It has too many pixels to be a photograph.") from error
    except MemoryError as error:
        raise ImageError("too_large", "It needs more memory than there is.") from error
    except Exception as error:
        # Pillow's decoders raise almost anything on damaged files (OSError, SyntaxError, ValueError,
        # struct.error, zlib.error, IndexError, …); one bad picture must not end a run over thousands.
        raise _decoding_error(error) from error


def _open(source: str | os.PathLike[str] | bytes) -> Image.Image:
    if isinstance(source, bytes):
        if not source:
            raise ImageError("empty", "It is empty: 0 bytes.")
        return Image.open(io.BytesIO(source))
    status = os.stat(source)
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("not_permitted", "The folder cannot be listed.")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not_a_file", "It is not a file.")
    if status.st_size == 0:
        raise ImageError("empty", "The file is empty: 0 bytes.")
    return Image.open(source)


def _draft_size(size: tuple[int, int], shorter_side: int) -> tuple[int, int]:
    scale = shorter_side / min(size)
    return math.ceil(size[0] * scale), math.ceil(size[1] * scale)


def _check_size(image: Image.Image) -> None:
    """Refuse what would take too much memory; the size is the one after ``draft``."""
    pixels = image.width * image.height
    if pixels > MAX_FULL_DECODE_PIXELS:
        raise ImageError("too_large", f"It has {pixels / 1e6:.0f} megapixels; the limit for its format is 89.")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _wide_to_rgb(image)
    if image.has_transparency_data:
        # What lies under transparent pixels is arbitrary; people see them on white.
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _wide_to_rgb(image: Image.Image) -> Image.Image:
    """Scale 16- and 32-bit greys to 8 bits; ``convert`` alone would cut everything above 255 off."""
    values = np.asarray(image, dtype=np.float64)
    top = 65535.0 if values.max(initial=0) > 255 else 255.0  # noqa: PLR2004
    grey = np.clip(values * (255.0 / top), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    method = UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _decoding_error(error: Exception) -> ImageError:
    if isinstance(error, OSError) and error.errno is not None:
        code = "not_found" if error.errno in {errno.ENAMETOOLONG, errno.ENOTDIR} else "unreadable"
        return ImageError(code, f"It cannot be read: {error.strerror}.")
    if "truncated" in str(error).lower():
        return ImageError("truncated", "It is cut off: the end of the file is missing.")
    return ImageError("unreadable", f"It is damaged: {error}.")
