"""HEIC pictures, as phones take them: Pillow reads them with a plugin, which the extra ``heif`` brings.

The plugin is imported when the first such picture is met: nobody else waits for it. Format: ISO/IEC 23008-12;
the first box names the brand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowercli.errors import ImageError

if TYPE_CHECKING:
    from typing import BinaryIO

BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
LENGTH_AND_BRAND = 12
# The code of the error where the plugin is missing.
NEEDS_HEIF = "needs_heif"


def is_heif(file: BinaryIO) -> bool:
    """Tell whether a file begins as HEIC pictures do, and leave it at its start."""
    head = file.read(LENGTH_AND_BRAND)
    file.seek(0)
    return head[4:8] == b"ftyp" and head[8:] in BRANDS


def register_heif() -> None:
    """Let Pillow read HEIC.

    Raises:
        ImageError: the plugin is not installed.
    """
    try:
        import pillow_heif
    except ModuleNotFoundError as error:
        # Servers answer strangers with this: how to install it is the command line's to say.
        raise ImageError(NEEDS_HEIF, "It is a HEIC picture, which is read with the extra 'heif'.") from error
    # Thumbnails and depth maps in the file are not asked for.
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False)
