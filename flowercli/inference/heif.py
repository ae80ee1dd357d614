"""HEIC pictures, as phones take them: Pillow reads them with a plugin, which the extra ``heif`` brings.

The plugin is imported when the first such picture is met: nobody else waits for it. Format: ISO/IEC 23008-12;
the first box names the brand.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from flowercli.errors import ImageError

BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
LENGTH_AND_BRAND = 12


def open_picture(source: str | os.PathLike[str] | BinaryIO, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Open a picture in one of these of Pillow's formats, or in any, as ``Image.open`` does; or a HEIC picture.

    Raises:
        ImageError: it is HEIC, and the plugin is not installed.
        UnidentifiedImageError: it is in no format that can be read.
    """
    try:
        return Image.open(source, formats=formats)
    except UnidentifiedImageError:
        if not is_heif(source):
            raise
    _register()
    return Image.open(source, formats=("HEIF",))


def is_heif(source: str | os.PathLike[str] | BinaryIO) -> bool:
    """Tell whether a file begins as HEIC pictures do."""
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:  # noqa: PTH123 - a path may be text here
            head = file.read(LENGTH_AND_BRAND)
    else:
        source.seek(0)
        head = source.read(LENGTH_AND_BRAND)
        source.seek(0)
    return head[4:8] == b"ftyp" and head[8:] in BRANDS


def _register() -> None:
    try:
        import pillow_heif
    except ModuleNotFoundError as error:
        raise ImageError("needs_heif", "It is a HEIC picture. To read these: pip install 'flowercli[heif]'") from error
    # Thumbnails and depth maps in the file are not asked for.
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False)
