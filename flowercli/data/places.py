"""Where what is known about a dataset lies: beside its class folders, or in the user's data directory."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from flowercli.data.scan import MANIFEST_FILE
from flowercli.home import NoHomeError, data_home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Of a folder's name, in bytes: a file system has room for 255, and something comes behind it.
LONGEST_NAME = 200


def manifest_path(root: Path) -> Path:
    """Return where the split manifest of a dataset is written.

    In the dataset's folder, unless this user may not write there, or its permissions say that nothing is to be written
    there (also to root, whom the system would let).

    Raises:
        NoHomeError: it is not written there, and this user has no data directory.
    """
    return root / MANIFEST_FILE if _is_open(root) else own_place("splits", root)


def find_manifest(root: Path) -> Path | None:
    """Return the split manifest of a dataset, or ``None`` if there is none.

    Of somebody else's dataset, the split that this user made goes before the one that came with it.
    """
    # Not is_file(), which ends where this user may not look.
    return next((path for path in _places(root) if os.access(path, os.F_OK)), None)


def own_place(kind: str, root: Path) -> Path:
    """Return the file of this kind about a dataset in the user's data directory.

    Raises:
        NoHomeError: there is no such directory.
    """
    folder = root.resolve()
    name = os.fsencode(folder.name)[:LONGEST_NAME].decode(errors="ignore")
    return data_home() / kind / f"{name}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}.json"


def _places(root: Path) -> Iterator[Path]:
    """Yield where the split of a dataset may be, what goes before first; who has no home has none of their own."""
    is_open = _is_open(root)
    if is_open:
        yield root / MANIFEST_FILE
    with suppress(NoHomeError):
        yield own_place("splits", root)
    if not is_open:
        yield root / MANIFEST_FILE


def _is_open(root: Path) -> bool:
    anybody = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
    return bool(root.stat().st_mode & anybody) and os.access(root, os.W_OK)
