"""What sidecars were before they were written, kept before each is, so that every byte of them can be had again.

A line of the receipt (:mod:`flowercli.data.undo_list`) is ``{"did": "tagged", "in": FOLDER, "file": PATH, "before":
TEXT or null, "sha256": HASH}``: where the receipt was written, the path relative to it, the bytes that were there in
base64 (``null``: there was no file), and the hash of what was written.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flowercli.atomic import append_bytes
from flowercli.data.undo_list import Undone, below, from_the_end, new_list
from flowercli.errors import DataError, TaggingError
from flowercli.locks import alone_in
from flowercli.shown import in_shell
from flowercli.tagging.sidecar import XMP
from flowercli.tagging.writing import PURPOSE, LeftAloneError, Writer, content_of

TAGGED = "tagged"


class Receipt:
    """The receipt of one run, which is there from its first line on."""

    def __init__(self, folder: Path) -> None:
        self.file = new_list(folder)
        self.is_begun = False
        self._folder = folder

    def note(self, sidecar: Path, before: bytes | None, after: bytes) -> None:
        """Keep what a sidecar is, before it is written.

        Raises:
            TaggingError: that cannot be kept; the sidecar must not be written then.
        """
        row = {
            "did": TAGGED,
            "in": str(self._folder.resolve()),
            "file": sidecar.relative_to(self._folder).as_posix(),
            "before": None if before is None else base64.b64encode(before).decode(),
            "sha256": hashlib.sha256(after).hexdigest(),
        }
        try:
            if not self.is_begun:
                self.file.touch(exist_ok=False)
                self.is_begun = True
            append_bytes(self.file, json.dumps(row).encode() + b"\n")
        except OSError as error:
            raise TaggingError(f"The receipt {self.file} cannot be written: {error.strerror or error}.") from error


class Change(NamedTuple):
    """A line of a receipt."""

    folder: str
    sidecar: Path
    before: bytes | None
    sha256: str


def changes(file: Path) -> Iterator[Change]:
    """Yield the lines of a receipt, the last first.

    Raises:
        DataError: it is none, or names what is no sidecar below its folder.
    """
    return from_the_end(file, _change, "sidecars that were written")


def _change(row: dict[str, Any], folder: Path) -> Change:
    sidecar, before = below(folder, row["file"]), row["before"]
    if row["did"] != TAGGED or sidecar.suffix not in XMP:
        raise ValueError(row["file"])
    bytes.fromhex(row["sha256"])
    return Change(
        str(row["in"]), sidecar, None if before is None else base64.b64decode(before, validate=True), row["sha256"]
    )


def undo(file: Path, waiting: Callable[[], None] = lambda: None) -> Undone:
    """Give sidecars the bytes that they had, the last one first; the receipt goes when nothing of it is left.

    A sidecar that is not as it was written stays, whoever changed it. What was undone before is passed over, so that
    it can be ended at any moment, and run again.

    Raises:
        DataError: it is no receipt, or lies elsewhere than its sidecars.
    """
    done: set[Path] = set()
    left: dict[Path, str] = {}
    folder = file.resolve().parent
    folder_then = ""
    with alone_in(folder, PURPOSE, waiting), Writer() as writer:
        for change in changes(file):
            try:
                folder_then = change.folder
                if _undone(change, writer):
                    done.add(change.sidecar)
                # Of one that was written twice: the first time is what counts.
                left.pop(change.sidecar, None)
            except OSError as error:
                left[change.sidecar] = error.strerror or str(error)
            except LeftAloneError as error:
                left[change.sidecar] = str(error)
    if not (done or left or folder_then == str(folder)):
        hint = f"mv {in_shell(file)} {in_shell(folder_then)}"
        raise DataError(f"No sidecar of {file} is here: it was written in {folder_then}.", hint=hint)
    if not left:  # As the last of all: until then, it can be run again.
        file.unlink(missing_ok=True)
    return Undone(len(done), [(str(sidecar), why) for sidecar, why in left.items()])


def _undone(change: Change, writer: Writer) -> bool:
    """Take one change back; return whether it was still there."""
    writer.enter(change.sidecar.parent)
    now = content_of(change.sidecar)
    if now == change.before:
        return False
    if now is None:
        raise LeftAloneError("it is not there any more")
    if hashlib.sha256(now).hexdigest() != change.sha256:
        raise LeftAloneError("it was changed since")
    if change.before is None:
        change.sidecar.unlink()
    else:
        writer.write(change.sidecar, change.before, now)
    return True
