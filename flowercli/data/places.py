"""Where what is known about a dataset lies: beside its class folders, or in the user's data directory."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from flowercli.data.scan import JSON, MANIFEST_FILES, PARQUET
from flowercli.home import NoHomeError, data_home

# Of a folder's name, in bytes: a file system has room for 255, and something comes behind it.
LONGEST_NAME = 200
# Photographs. Of more, reading JSON takes minutes and gigabytes.
MOST_IN_JSON = 100_000


def manifest_path(root: Path, photos: int = 0) -> Path:
    """Return where the split manifest of a dataset with so many photographs is written.

    In the dataset's folder, unless this user may not write there, or its permissions say that nothing is to be written
    there (also to root, whom the system would let).

    Raises:
        NoHomeError: it is not written there, and this user has no data directory.
    """
    suffix = manifest_suffix(photos)
    return root / MANIFEST_FILES[suffix] if _is_open(root) else own_place("splits", root, suffix)


def manifest_suffix(photos: int) -> str:
    """Return the ending of a manifest of so many photographs: that of Parquet, if it can be written, or of JSON."""
    return PARQUET if photos > MOST_IN_JSON and importlib.util.find_spec("pyarrow") is not None else JSON


def forget_other_form(path: Path) -> None:
    """Remove a manifest that another one, in the other form, has just taken the place of."""
    other = {JSON: PARQUET, PARQUET: JSON}[path.suffix]
    path.with_suffix(other).unlink(missing_ok=True)


def find_manifest(root: Path) -> Path | None:
    """Return the split manifest of a dataset, or ``None`` if there is none.

    Of somebody else's dataset, the split that this user made goes before the one that came with it.
    """
    for places in _places(root):
        # Not is_file(), which ends where this user may not look.
        if there := [path for path in places if os.access(path, os.F_OK)]:
            return max(there, key=lambda path: path.stat().st_mtime_ns)  # Who writes one was to remove the other.
    return None


def own_place(kind: str, root: Path, suffix: str) -> Path:
    """Return the file of this kind about a dataset in the user's data directory.

    Raises:
        NoHomeError: there is no such directory.
    """
    folder = root.resolve()
    name = os.fsencode(folder.name)[:LONGEST_NAME].decode(errors="ignore")
    return data_home() / kind / f"{name}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}{suffix}"


def _places(root: Path) -> Iterator[list[Path]]:
    """Yield where the split of a dataset may be, what goes before first; who has no home has none of their own."""
    is_open, beside = _is_open(root), [root / name for name in MANIFEST_FILES.values()]
    if is_open:
        yield beside
    with suppress(NoHomeError):
        yield [own_place("splits", root, suffix) for suffix in MANIFEST_FILES]
    if not is_open:
        yield beside


def _is_open(root: Path) -> bool:
    anybody = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
    return bool(root.stat().st_mode & anybody) and os.access(root, os.W_OK)
