"""Text files that may be somebody else's: of a limited size, and no pipe or device, which would never end."""

from __future__ import annotations

import stat
from pathlib import Path

# Of a description: ten thousand classes with the metrics of six variants fit.
MOST_BYTES = 64 * 2**20


def read_plain_file(path: Path, most: int = MOST_BYTES) -> str:
    """Read the text of a file.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: it is no plain file, has more than ``most`` bytes, or is not UTF-8.
    """
    return read_plain_bytes(path, most).decode("utf-8")


def read_plain_bytes(path: Path, most: int) -> bytes:
    """Read a file.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: it is no plain file, or has more than ``most`` bytes.
    """
    check_plain(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most / 2**20:g} MiB")
    return content


def check_plain(path: Path) -> None:
    """Refuse what is no plain file, before it is opened: that alone waits for ever at a pipe.

    Raises:
        OSError: it is not there.
        ValueError: it is no plain file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a plain file")
