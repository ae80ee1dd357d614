"""Whether a photograph, or a near copy of it, is one of a manifest: by its bytes, else by its perceptual hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from flowercli.data.columns import Packed
from flowercli.data.duplicates import NEAR_BITS
from flowercli.data.split import SPLITS
from flowercli.shown import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from flowercli.bundle import Bundle
    from flowercli.data.columns import Table
    from flowercli.data.manifest import Entry, Manifest

SHA256 = np.dtype("<u8, <u8, <u8, <u8")


class Hashed(Protocol):
    """A photograph by what reading it told."""

    @property
    def sha256(self) -> str:
        """Of the file, 64 digits."""

    @property
    def perceptual_hash(self) -> int | None:
        """Of the picture."""


class Copy(NamedTuple):
    """The photograph of a manifest that another one is a copy of.

    ``is_outlier``: it is one of the pictures that show none of the classes. ``bits`` is in how many of 64 their
    perceptual hashes differ; ``None`` where the files are the same.
    """

    photo: Entry
    is_outlier: bool
    bits: int | None


class Copies:
    """The photographs and outliers of a manifest, to be found again. ``hashed`` is how many have a perceptual hash.

    Of five million, a look takes ten milliseconds: they are compared one after the other.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._photos: Table[Entry] = manifest.photos + manifest.outliers
        self._first_outlier = len(manifest.photos)
        columns = self._photos.columns
        assert isinstance(columns["sha256"], Packed)
        self._starts = np.frombuffer(bytes(columns["sha256"].content), SHA256)["f0"].copy()
        hashes = list(columns["perceptual_hash"])
        self._places: npt.NDArray[np.intp] = np.flatnonzero([value is not None for value in hashes])
        self._hashes = np.array([value for value in hashes if value is not None], dtype=np.uint64)
        self.hashed = len(self._hashes)

    def __len__(self) -> int:
        return len(self._photos)

    def find(self, told: Hashed) -> Copy | None:
        """Return the photograph that has the same bytes or nearly the same hash: one of training, if there is one.

        Of those of one split it is the most alike.
        """
        found = [*self._same(told), *self._alike(told)]
        return min(found, key=lambda copy: (SPLITS.index(copy.photo.split), copy.bits or 0), default=None)

    def _same(self, told: Hashed) -> Iterator[Copy]:
        start = np.uint64(int.from_bytes(bytes.fromhex(told.sha256)[:8], "little"))
        for place in np.flatnonzero(self._starts == start).tolist():
            if self._photos[place].sha256 == told.sha256:
                yield self._copy(place, None)

    def _alike(self, told: Hashed) -> Iterator[Copy]:
        if told.perceptual_hash is not None and self.hashed:
            apart = np.bitwise_count(self._hashes ^ np.uint64(told.perceptual_hash))
            for place in np.flatnonzero(apart <= NEAR_BITS).tolist():
                yield self._copy(int(self._places[place]), int(apart[place]))

    def _copy(self, place: int, bits: int | None) -> Copy:
        return Copy(self._photos[place], place >= self._first_outlier, bits)


def limits(copies: Copies, manifest: Manifest, bundle: Bundle) -> Iterator[str]:
    """Yield in words what is not found.

    Args:
        copies: those of the manifest.
        manifest: that of the bundle.
        bundle: it may say that it was trained on more.
    """
    recorded = bundle.section.get("provenance", {}).get("photos", {}).get("train")
    if copies.hashed < len(copies):
        left = counted(len(copies) - copies.hashed, "photograph")
        yield f"Of {left} the split manifest has no perceptual hash: only the same files are found."
    if isinstance(recorded, int) and recorded > (listed := sum(manifest.counts("train").values())):
        yield f"It was trained on {recorded} photographs, of which its split manifest lists {listed}."
