"""Decode a picture to RGB, whatever it is and whoever sent it: every way to fail has a code."""

from __future__ import annotations

import binascii
import errno
import io
import math
import os
import stat
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from flowercli.errors import ImageError
from flowercli.inference.heif import open_picture

# Pillow refuses pictures above twice its own MAX_IMAGE_PIXELS and warns above it once. A phone
# takes 200-megapixel pictures today, and a JPEG of that size is decoded here at an eighth of it.
MAX_PIXELS = 268_435_456
# What a format that cannot be decoded at a smaller scale may cost: 89 megapixels, 270 MB.
MAX_FULL_DECODE_PIXELS = 89_478_485
# What strangers may send: none of these starts another program, as Pillow does for PostScript.
SAFE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")
EXIF_ORIENTATION = 0x0112


class Accepted(NamedTuple):
    """What is read: pictures of at most ``pixels``, as they are stored, in these of Pillow's formats, or in all."""

    pixels: int = MAX_PIXELS
    formats: tuple[str, ...] | None = None


ANYTHING = Accepted()


class Draft(NamedTuple):
    """A decoded picture, perhaps at a reduced scale; how it is to be turned; its size as it is stored."""

    image: Image.Image
    orientation: int
    size: tuple[int, int]


def from_base64(text: object) -> bytes:
    """Return the bytes of a file from its base64 text, strictly: no other characters, no missing padding.

    Raises:
        ImageError: it is something else.
    """
    if isinstance(text, str):
        with suppress(ValueError):
            return binascii.a2b_base64(text, strict_mode=True)
    raise ImageError("not_base64", "It is not the base64 text of a file.")


def safe_formats() -> tuple[str, ...]:
    """Return the formats that strangers may send, of those that this build of Pillow has."""
    Image.init()
    return tuple(name for name in SAFE_FORMATS if name in Image.OPEN)


def open_draft(source: str | os.PathLike[str] | bytes, shorter_side: int, accepted: Accepted = ANYTHING) -> Draft:
    """Decode to RGB, JPEGs at the smallest scale that still has the shorter side."""
    try:
        with _open(source, accepted.formats) as image:
            size = image.size
            _check_stored_size(size, accepted)
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
            image.draft("RGB", _draft_size(image.size, shorter_side))
            _check_size(image)
            image.load()
            return Draft(_to_rgb(image), orientation, size)
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


def _open(source: str | os.PathLike[str] | bytes, formats: tuple[str, ...] | None) -> Image.Image:
    if isinstance(source, bytes):
        if not source:
            raise ImageError("empty", "It is empty: 0 bytes.")
        return open_picture(io.BytesIO(source), formats)
    status = os.stat(source)
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("not_permitted", "The folder cannot be listed.")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not_a_file", "It is not a file.")
    if status.st_size == 0:
        raise ImageError("empty", "The file is empty: 0 bytes.")
    return open_picture(source, formats)


def _check_stored_size(size: tuple[int, int], accepted: Accepted) -> None:
    """Refuse before decoding; a progressive JPEG takes memory for every pixel at any scale."""
    pixels = size[0] * size[1]
    if pixels > accepted.pixels:
        limit = f"the limit is {accepted.pixels / 1e6:.3g}"
        raise ImageError("too_large", f"It has {pixels / 1e6:.0f} megapixels; {limit}.")


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


def _decoding_error(error: Exception) -> ImageError:
    if isinstance(error, OSError) and error.errno is not None:
        code = "not_found" if error.errno in {errno.ENAMETOOLONG, errno.ENOTDIR} else "unreadable"
        return ImageError(code, f"It cannot be read: {error.strerror}.")
    if "truncated" in str(error).lower():
        return ImageError("truncated", "It is cut off: the end of the file is missing.")
    return ImageError("unreadable", f"It is damaged: {error}.")
