"""Decode a picture to RGB, whatever it is and whoever sent it: every way to fail has a code."""

from __future__ import annotations

import binascii
import errno
import io
import logging
import math
import os
import stat
import struct
import warnings
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import jpeg_factory

from flowercli.errors import ImageError
from flowercli.inference import jpeg2000
from flowercli.inference.colour import narrowed, to_srgb, with_least_black
from flowercli.inference.ending import is_cut_off
from flowercli.inference.heif import is_heif, register_heif
from flowercli.inference.memory import DECODERS, MOST_A_PICTURE, NoRoomError
from flowercli.inference.structure import check_structure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

# A phone takes 200-megapixel pictures today, and a JPEG of that size is decoded here at an eighth of it.
MAX_PIXELS = 268_435_456
# Pillow would refuse these, and warn of half as many. What a picture costs is checked here, more closely.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# Pillow warns and logs about odd files, and the answer says what is wrong with one.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
# At the peak, a pixel, measured: what the decoder holds with Pillow's picture, by format or decoder where that says it,
# and by mode; and what a copy in grey or RGB takes where one is made.
DECODER_BYTES = {"WEBP": 16, "AVIF": 10, "HEIF": 7.8, "JPEG2000": 20, "libtiff": 8}
MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
COPY_BYTES = {"RGB": 0, "L": 0, "CMYK": 0, "I;16": 1, "I;16B": 1, "I;16L": 1, "I": 1, "F": 1}
# Pillow decodes run lengths and texts in Python, about a microsecond a value, under the lock that all threads share.
MAX_PYTHON_PIXELS, MAX_PYTHON_BYTES = 500_000, 4 * 2**20
MAX_FILE_BYTES = 512 * 2**20
MAX_EXIF_BYTES = 2**20
# Of a PNG's comments and profile; the packed ones of a whole file, Pillow counts by itself.
MAX_TEXT_BYTES = 16 * 2**20
# What every way in reads: none of these starts another program, as Pillow does for PostScript. The first ones need none
# of the plugins that Pillow loads late.
COMMON_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")
OTHER_FORMATS = ("WEBP", "TIFF", "AVIF", "JPEG2000")
JPEGS = frozenset({"JPEG", "MPO"})
JPEG_START = b"\xff\xd8\xff"
# With these a plugin of Pillow's says that a file is not of its format after all.
NOT_OF_THIS_FORMAT = (SyntaxError, IndexError, TypeError, struct.error)
EXIF_ORIENTATION = 0x0112
TRUNCATED = "It is cut off: the end of the file is missing."


# A path, or the bytes of a file; or what Pillow has opened.
File: TypeAlias = "str | os.PathLike[str] | bytes"
Source: TypeAlias = "File | Image.Image"


class Draft(NamedTuple):
    """A decoded picture as it is stored, perhaps at a reduced scale.

    ``image`` is grey, RGB or CMYK of eight bits; ``orientation`` how it is to be turned; ``size`` its width and height
    at full scale; ``profile`` its colour profile, if it has one; ``unmarked`` whether it is CMYK of a JPEG that does
    not say whether zero is no ink or all.
    """

    image: Image.Image
    orientation: int
    size: tuple[int, int]
    profile: bytes | None
    unmarked: bool = False

    def in_srgb(self, image: Image.Image) -> Image.Image:
        """Return this picture, or what was made of it, in the colours of sRGB."""
        return to_srgb(with_least_black(image) if self.unmarked else image, self.profile)


def from_base64(text: object) -> bytes:
    """Return the bytes of a file from its base64 text, strictly: no other characters, no missing padding.

    Raises:
        ImageError: it is something else.
    """
    if isinstance(text, str):
        with suppress(ValueError):
            return binascii.a2b_base64(text, strict_mode=True)
    raise ImageError("not_base64", "It is not the base64 text of a file.")


@contextmanager
def open_draft(source: Source, shorter_side: int, most_pixels: int = MAX_PIXELS) -> Iterator[Draft]:
    """Decode to grey, RGB or CMYK, JPEGs at the smallest scale that still has the shorter side.

    The memory that it takes counts, where that is limited, until the end of the block.

    Args:
        source: a path, the bytes of a file, or an image of Pillow's.
        shorter_side: in pixels.
        most_pixels: of the picture as it is decoded, of a JPEG in several scans as it is stored; ``MAX_PIXELS`` are
            the most that any has as it is stored.

    Raises:
        ImageError: the picture cannot be read; its ``code`` says why.
        NoRoomError: in a service, others take the memory that it needs.
    """
    with ExitStack() as memory:
        yield (
            _of_image(source) if isinstance(source, Image.Image) else _draft(source, shorter_side, most_pixels, memory)
        )


def _of_image(image: Image.Image) -> Draft:
    """Take a picture that somebody has opened, or made, with Pillow; it stays as it is."""
    if 0 in image.size:
        raise ImageError("empty", "It has no pixels.")
    try:
        image.load()
        return Draft(narrowed(image), _orientation(image), image.size, _profile(image), _is_unmarked(image))
    except Exception as error:
        raise ImageError("unreadable", f"It is damaged: {str(error) or type(error).__name__}.") from error


def _profile(image: Image.Image) -> bytes | None:
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) else None


def _is_unmarked(image: Image.Image) -> bool:
    return image.mode == "CMYK" and image.format in JPEGS and "adobe" not in image.info


def _draft(source: File, shorter_side: int, most_pixels: int, memory: ExitStack) -> Draft:
    try:
        with open_file(source) as file:
            kept = check_structure(file)
            with identify(file) as image:
                size = image.size
                # Of a JPEG in several scans all coefficients are decoded, whatever the scale.
                _check_size(size[0] * size[1], most_pixels if kept else MAX_PIXELS)
                reduced, halvings = _reduce(image, file, shorter_side)
                memory.enter_context(DECODERS.taken(kept + _checked_cost(image, file, halvings, most_pixels)))
                image.load()
                # Only now: Pillow turns some formats itself when it loads them.
                orientation = _orientation(image)
                shown_size = size if reduced else image.size
                return Draft(narrowed(image), orientation, shown_size, _profile(image), _is_unmarked(image))
    except (ImageError, NoRoomError):
        raise
    except FileNotFoundError as error:
        raise ImageError("not_found", "There is no such file.") from error
    except PermissionError as error:
        raise ImageError("not_permitted", "Reading it is not permitted.") from error
    except UnidentifiedImageError as error:
        if _is_cut_off(source):
            raise ImageError("truncated", TRUNCATED) from error
        raise ImageError("not_an_image", "It is not a picture in a format that can be read.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError("too_large", "It has too many pixels to be a photograph.") from error
    except MemoryError as error:
        raise ImageError("too_large", "It needs more memory than there is.") from error
    except Exception as error:
        # Pillow's decoders raise almost anything on damaged files (OSError, SyntaxError, ValueError,
        # struct.error, zlib.error, IndexError, …); one bad picture must not end a run over thousands.
        raise _decoding_error(error, source) from error


def _is_cut_off(source: File) -> bool:
    with suppress(OSError, ImageError), open_file(source) as file:
        return is_cut_off(file)
    return False


def open_file(source: File) -> BinaryIO:
    """Open a file, if it is one and of a size that a picture may have.

    Raises:
        ImageError: it is not.
        OSError: it cannot be opened.
    """
    if isinstance(source, bytes):
        if not source:
            raise ImageError("empty", "It is empty: 0 bytes.")
        return io.BytesIO(source)
    status = os.stat(source)
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("not_permitted", "The folder cannot be listed.")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not_a_file", "It is not a file.")
    if status.st_size == 0:
        raise ImageError("empty", "The file is empty: 0 bytes.")
    if status.st_size > MAX_FILE_BYTES:
        raise ImageError("too_large", f"It is larger than {MAX_FILE_BYTES // 2**20} MiB.")
    return open(source, "rb")  # noqa: PTH123  (a path may be text here)


def identify(file: BinaryIO) -> Image.Image:
    """Open a picture in one of the formats that are read; of Pillow's plugins a JPEG waits for its own alone.

    Raises:
        Exception: whatever Pillow raises.
    """
    file.seek(0)
    if file.read(len(JPEG_START)) == JPEG_START:
        file.seek(0)
        with suppress(*NOT_OF_THIS_FORMAT):
            return jpeg_factory(file)
    from PIL import PngImagePlugin

    PngImagePlugin.MAX_TEXT_CHUNK = MAX_TEXT_BYTES
    try:
        return Image.open(file, formats=COMMON_FORMATS)
    except UnidentifiedImageError:
        file.seek(0)
    Image.init()
    try:
        return Image.open(file, formats=[name for name in OTHER_FORMATS if name in Image.OPEN])
    except UnidentifiedImageError:
        file.seek(0)
        if not is_heif(file):
            raise
    register_heif()
    return Image.open(file, formats=("HEIF",))


def _orientation(image: Image.Image) -> int:
    # The plugin for HEIC gives None where there is none.
    if len(image.info.get("exif") or b"") > MAX_EXIF_BYTES:
        return 1
    try:
        orientation: int = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  (of nonsense Pillow's parser raises almost anything)
        return 1
    return orientation


def _check_size(pixels: int, most_pixels: int) -> None:
    """Refuse before decoding."""
    if pixels > most_pixels:
        message = f"It has {pixels / 1e6:.0f} megapixels; the limit is {most_pixels / 1e6:.3g}."
        raise ImageError("too_large", message)


def _reduce(image: Image.Image, file: BinaryIO, shorter_side: int) -> tuple[bool, int]:
    """Have a picture decoded at the smallest scale that has the shorter side, if its format has scales.

    Returns:
        whether it will be at another scale, and how often it will be halved after its size was told.
    """
    if image.format != jpeg2000.FORMAT:
        return image.draft("RGB", _draft_size(image.size, shorter_side)) is not None, 0
    halvings = jpeg2000.reduction(file, image.size, shorter_side)
    image.reduce = halvings  # type: ignore[method-assign, assignment]  # an attribute, of this format
    return halvings > 0, halvings


def _draft_size(size: tuple[int, int], shorter_side: int) -> tuple[int, int]:
    scale = shorter_side / min(size)
    return math.ceil(size[0] * scale), math.ceil(size[1] * scale)


def _checked_cost(image: Image.Image, file: BinaryIO, halvings: int, most_pixels: int) -> int:
    """Refuse what would take too much memory, or too long; return its bytes. The size is the one after ``draft``."""
    pixels = image.width * image.height >> 2 * halvings
    _check_size(pixels, most_pixels)
    decoder = next((tile[0] for tile in getattr(image, "tile", ())), "")
    decoded = max(DECODER_BYTES.get(name or "", 0) for name in (image.format, decoder))
    copied = 4 if image.has_transparency_data else COPY_BYTES.get(image.mode, 4)
    cost = max(decoded, MODE_BYTES.get(image.mode, 4)) + copied
    if pixels * cost > MOST_A_PICTURE:
        limit = MOST_A_PICTURE / cost / 1e6
        raise ImageError("too_large", f"It has {pixels / 1e6:.0f} megapixels; the limit for its kind is {limit:.0f}.")
    if decoder in Image.DECODERS:
        there = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(there)
        if pixels > MAX_PYTHON_PIXELS or size > MAX_PYTHON_BYTES:
            raise ImageError("too_large", "Pictures of its kind of coding are read up to half a megapixel.")
    return math.ceil(pixels * cost)


def _decoding_error(error: Exception, source: File) -> ImageError:
    if isinstance(error, OSError) and error.errno is not None:
        code = "not_found" if error.errno in {errno.ENAMETOOLONG, errno.ENOTDIR} else "unreadable"
        return ImageError(code, f"It cannot be read: {error.strerror}.")
    if "truncated" in str(error).lower() or _is_cut_off(source):
        return ImageError("truncated", TRUNCATED)
    return ImageError("unreadable", f"It is damaged: {str(error) or type(error).__name__}.")
