"""Which file is the sidecar of a picture, and of the raw files beside it that show the same."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from flowercli.inference.patterns import HIDDEN, IMAGE_SUFFIXES, is_subfolder

# What cameras write, and nothing here decodes.
RAW = "3fr arw cr2 cr3 crw dcr dng erf fff gpr iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f"
RAW_SUFFIXES = frozenset(f".{name}" for name in RAW.split(" "))
XMP = (".xmp", ".XMP")
# A folder that is changed meanwhile is listed again after so long, at once for a picture that was not there.
SECONDS = 5.0


class Naming(StrEnum):
    """How a new sidecar is called: ``rose.jpg.xmp`` or ``rose.xmp``."""

    DIGIKAM = "digikam"
    LIGHTROOM = "lightroom"


class _Group(NamedTuple):
    """The names of the files of a folder that differ in their last suffix only."""

    pictures: list[str]
    raws: list[str]


class Sidecars:
    """Finds the sidecars of pictures; of one folder after the other it lists each once."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._folder, self._groups, self._until = "", dict[str, _Group](), 0.0

    def of(self, picture: str) -> list[Path]:
        """Return where an answer about a picture goes: its sidecar, and those of raw files of its name.

        One that is there is taken, whatever its way of being called. ``rose.xmp`` is nobody's where two pictures or two
        raw files could mean it; beside a raw file it is that one's.
        """
        folder, name = os.path.split(picture)
        stem = os.path.splitext(name)[0]
        pictures, raws = self._group(folder, stem, name)
        if len(pictures) > 1:
            return [self._named(folder, name, None)]
        is_shared = self._naming is Naming.LIGHTROOM and len(raws) == 1
        short = stem if not raws or is_shared else None
        found = [self._named(folder, name, short)]
        found += [self._named(folder, raw, stem if len(raws) == 1 else None) for raw in raws]
        return list(dict.fromkeys(found))

    def _group(self, folder: str, stem: str, name: str) -> _Group:
        is_old = folder != self._folder or time.monotonic() > self._until
        if is_old or stem not in self._groups or name not in self._groups[stem].pictures:
            with suppress(OSError):  # Whoever writes there will tell.
                self._groups = {}
                self._groups = groups_in(folder)
            self._folder, self._until = folder, time.monotonic() + SECONDS
        return self._groups.get(stem) or _Group([], [])

    def _named(self, folder: str, name: str, short: str | None) -> Path:
        """Return the sidecar of a file; ``short`` is its name without suffix, where that can mean it alone."""
        if short is not None and os.path.lexists(os.path.join(folder, short)):
            short = None  # There is a file of just that name, whose sidecar it would be.
        names = [name] if short is None else [name, short]
        for each in names:
            for suffix in XMP:
                if os.path.lexists(path := os.path.join(folder, each + suffix)):
                    return Path(path)
        return Path(folder, names[-1 if self._naming is Naming.LIGHTROOM else 0] + XMP[0])


def groups_in(folder: str) -> dict[str, _Group]:
    """Return the pictures and raw files of a folder by their names without suffix; hidden ones are none.

    Raises:
        OSError: it cannot be listed.
    """
    groups: dict[str, _Group] = defaultdict(lambda: _Group([], []))
    for name in sorted(os.listdir(folder or os.curdir)):
        stem, suffix = os.path.splitext(name)
        if name.startswith(HIDDEN) or (suffix := suffix.lower()) not in IMAGE_SUFFIXES | RAW_SUFFIXES:
            continue
        group = groups[stem]
        (group.raws if suffix in RAW_SUFFIXES else group.pictures).append(name)
    return dict(groups)


def lonely_raws(folder: str) -> Iterator[str]:
    """Yield the raw files below a folder that no picture speaks for."""
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        try:
            groups = groups_in(folder)
            with os.scandir(folder) as entries:
                waiting += [entry.path for entry in entries if is_subfolder(entry)]
        except OSError:  # It was told before.
            continue
        yield from (os.path.join(folder, raw) for one in groups.values() if len(one.pictures) != 1 for raw in one.raws)
