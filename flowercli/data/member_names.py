"""Which names the members of an archive may have: those that lie inside its folder on every system."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

from flowercli.data.inside import leads_outside, not_portable
from flowercli.errors import ArchiveError
from flowercli.shown import one_line

SHOWN = 80
SAME_TO_SOME = "only in case, or in how accents are written"


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
