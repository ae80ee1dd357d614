"""Sidecars are read and replaced here alone: each is there whole at every moment, and none is written over unseen."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from flowercli.atomic import put_in_place, scratch_folder, sweep_scratch
from flowercli.plain_file import read_plain_bytes

PURPOSE = "tagging"
# Of a sidecar: masks of Lightroom's make megabytes.
MOST_BYTES = 16 * 2**20


class LeftAloneError(Exception):
    """Why a sidecar is not touched, as the rest of a sentence."""


def content_of(sidecar: Path) -> bytes | None:
    """Return what is in a sidecar; ``None`` where there is none.

    Raises:
        LeftAloneError: it is a link, a folder or the like, or too large.
        OSError: it cannot be read.
    """
    if sidecar.is_symlink():
        raise LeftAloneError("it is a link")
    try:
        return read_plain_bytes(sidecar, MOST_BYTES)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LeftAloneError(str(error)) from error


class Writer:
    """Replaces sidecars, of one folder after the other: a scratch folder in each serves all that are in it."""

    def __init__(self) -> None:
        self._place = ExitStack()
        self._folder: Path | None = None
        self._scratch: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._place.close()

    def enter(self, folder: Path) -> None:
        """Be in a folder, where nothing of a killed run is left then."""
        if folder != self._folder:
            self._place.close()
            self._folder, self._scratch = folder, None
            sweep_scratch(PURPOSE, folder)

    def write(
        self, sidecar: Path, content: bytes, before: bytes | None, first: Callable[[], None] = lambda: None
    ) -> None:
        """Replace a sidecar by renaming: other names of the old file, as of a backup, keep what it was.

        Args:
            sidecar: its path.
            content: what it is to hold.
            before: what it holds, ``None`` where it is not there.
            first: called when there is room for the new one, before the old one is touched.

        Raises:
            LeftAloneError: it is not what it was before.
            OSError: it cannot be written.
        """
        self.enter(sidecar.parent)
        if self._scratch is None:
            self._scratch = self._place.enter_context(scratch_folder(PURPOSE, sidecar.parent))
        temporary = self._scratch / "sidecar"
        temporary.write_bytes(content)
        first()
        if content_of(sidecar) != before:
            raise LeftAloneError("another program is writing it")
        put_in_place(temporary, sidecar)
