"""Find where in an unpacked archive the class folders are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def find_class_folders(unpacked: Path, files: Path) -> Path:
    """Return the folder that has the class folders: the first, from the top, that has more than one subfolder."""
    del files
    folder = unpacked
    while len(inner := [entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."]) == 1:
        folder = inner[0]
    return folder
