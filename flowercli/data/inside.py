"""What a path inside a dataset may be, wherever it was read: in an archive, a manifest, a run of somebody else's."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import PurePosixPath

from flowercli.errors import ArchiveError
from flowercli.shown import one_line

DRIVE = re.compile(r"[A-Za-z]:")
# Windows' devices, whatever the ending: opening NUL.txt opens none of these files.
DEVICE = re.compile(r"(?i)(con|conin\$|conout\$|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?")
# They make a name read differently from what it is.
TURNS_TEXT = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\ufeff")
SEPARATORS = re.compile(r"[/\\]" if os.name == "nt" else "/")
MAX_DEPTH = 16
MAX_NAME_BYTES = 255

SHOWN = 80
SAME_TO_SOME = "only in case, or in how accents are written"


def leads_outside(path: str) -> str | None:
    """Return what is wrong with a ``/``-separated path, read as one below a folder; ``None`` if it lies there."""
    parts = SEPARATORS.split(path)
    checks = {
        "has an absolute path": parts[0] == "" and path != "",
        "has a drive letter": bool(DRIVE.match(path)),
        "leads out of its folder": ".." in parts,
        "has control characters in its name": "\0" in path,
    }
    return next((why for why, holds in checks.items() if holds), None)


def not_portable(path: str) -> str | None:
    """Return why a path cannot be a file's on every system, or is not what it looks like; ``None`` if it can be."""
    parts = [part for part in path.split("/") if part]
    kinds = {unicodedata.category(character) for character in path}
    checks = {
        "has a backslash in its name": "\\" in path,
        "has control characters in its name": "Cc" in kinds,
        "has a name that is not UTF-8": "Cs" in kinds,
        "has a mark in its name that turns or breaks the text": not TURNS_TEXT.isdisjoint(path),
        "has a character in its name that Windows does not allow": not set('<>:"|?*').isdisjoint(path),
        "has a name that ends in a dot or a space": any(part[-1] in ". " for part in parts if part.strip(".")),
        "has the name of a device": any(DEVICE.fullmatch(part) for part in parts),
        "has a name that is too long": any(len(part.encode("utf-8", "replace")) > MAX_NAME_BYTES for part in parts),
        "is too many folders deep": len(parts) > MAX_DEPTH,
    }
    return next((why for why, holds in checks.items() if holds), None)


def checked(name: str) -> PurePosixPath:
    """Return the relative path that a member's name stands for.

    Raises:
        ArchiveError: it is absolute, leads out of the folder, or cannot be a file's name on every system.
    """
    if wrong := leads_outside(name) or not_portable(name):
        raise refused(name, wrong)
    return PurePosixPath(*(part for part in name.split("/") if part not in ("", ".")))


def refused(name: str, why: str) -> ArchiveError:
    """Return the error about a member; its name is shown without what could disturb a terminal."""
    safe = one_line(name[:SHOWN]) + ("…" if len(name) > SHOWN else "")
    return ArchiveError(
        f"The archive is refused: '{safe}' {why}.",
        hint="Nothing was written. Get the archive from a place that you trust.",
    )


class Taken:
    """The names that an archive has used, as a file system that does not tell upper from lower case sees them."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def add_folder(self, path: PurePosixPath) -> int:
        """Take note of a folder and of those that it is in; return how many of them are new.

        Raises:
            ArchiveError: one of them is a file, or differs from another folder only in case.
        """
        before = len(self._folders)
        for folder in (path, *path.parents):
            key, text = _folded(folder), str(folder)
            if key in self._files:
                raise refused(str(path), "is both a file and a folder")
            if self._folders.setdefault(key, text) != text:
                raise refused(text, f"differs from '{self._folders[key]}' {SAME_TO_SOME}")
        return len(self._folders) - before

    def add_file(self, path: PurePosixPath) -> int:
        """Take note of a file; return how many of the folders that it is in are new.

        Raises:
            ArchiveError: the name is taken.
        """
        new = self.add_folder(path.parent)
        key, text = _folded(path), str(path)
        if key in self._folders:
            raise refused(text, "is both a file and a folder")
        if key in self._files:
            other = self._files[key]
            raise refused(text, "is there twice" if other == text else f"differs from '{other}' {SAME_TO_SOME}")
        self._files[key] = text
        return new


def _folded(path: PurePosixPath) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()
