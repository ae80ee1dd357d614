"""Read every photograph once: its sha256, whether it decodes, and its perceptual hash; then group the copies.

Copies on both sides of a split make a test score say more than it knows. Exact copies have the same
sha256; near copies (rescaled, recompressed) a pHash (``imagehash.phash``) within a few bits.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flowercli.data.alike import Groups, alike
from flowercli.data.seen import Read, Stamp
from flowercli.errors import ImageError
from flowercli.inference.cpu import available_cores
from flowercli.inference.preprocess import load_upright
from flowercli.progress import untold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from flowercli.data.scan import Photo
    from flowercli.progress import Advance

# Measured on flower_photos: rescaled and recompressed copies differ by 0 to 2 bits, shots of one series by up to
# 6, and from 10 bits on there are more and more pairs by chance.
NEAR_BITS = 4
# Larger than the pHash's own 32 pixels, so that its resampling decides, not the JPEG decoder's.
HASH_DECODE_SIDE = 128


@dataclass(frozen=True)
class Fingerprint:
    """What one read of a photograph tells.

    ``error`` is why it cannot be decoded, or ``None``; ``stamp`` is that of the file, if it could be opened.
    """

    sha256: str
    perceptual_hash: int | None
    error: str | None
    stamp: Stamp | None = None


def can_hash_perceptually() -> bool:
    """Whether ``imagehash`` (extras ``data`` and ``train``) is installed."""
    return importlib.util.find_spec("imagehash") is not None


class Readable(NamedTuple):
    """The photographs that can be read with what their read told, and the paths of the others with the reason."""

    photos: list[Photo]
    prints: list[Fingerprint]
    unreadable: list[tuple[str, str]]

    @property
    def reads(self) -> dict[str, Read]:
        """What to know the photographs by."""
        pairs = zip(self.photos, self.prints, strict=True)
        return {photo.path: Read(found.stamp, found.sha256) for photo, found in pairs if found.stamp}


def read_all(root: Path, photos: Sequence[Photo], progress: Callable[[int], None]) -> Readable:
    """Read every photograph, on all cores, and keep their order; ``progress`` is called with 1 for each."""
    perceptual = can_hash_perceptually()

    def fingerprint(photo: Photo) -> Fingerprint:
        result = _fingerprint(root / photo.path, perceptual=perceptual)
        progress(1)
        return result

    with ThreadPoolExecutor(available_cores()) as pool:
        pairs = list(zip(photos, pool.map(fingerprint, photos), strict=True))
    good = [pair for pair in pairs if not pair[1].error]
    unreadable = [(photo.path, found.error) for photo, found in pairs if found.error]
    return Readable([photo for photo, _ in good], [found for _, found in good], unreadable)


def exact_groups(fingerprints: Sequence[Fingerprint]) -> list[list[int]]:
    """Group the indices of photographs with the same bytes; only groups of two and more."""
    by_sha256: dict[str, list[int]] = defaultdict(list)
    for index, fingerprint in enumerate(fingerprints):
        by_sha256[fingerprint.sha256].append(index)
    return [group for group in by_sha256.values() if len(group) > 1]


def near_groups(fingerprints: Sequence[Fingerprint], advance: Advance = untold) -> list[list[int]]:
    """Group the indices of photographs whose pHash is within a few bits of another's in the group.

    ``advance`` is called some dozens of times meanwhile.
    """
    hashes = [fingerprint.perceptual_hash for fingerprint in fingerprints]
    known = [index for index, value in enumerate(hashes) if value is not None]
    values = np.array([hashes[index] for index in known], dtype=np.uint64)
    return _listed(
        zip(known, alike(values, NEAR_BITS, partial(advance, "Looking for near copies")).tolist(), strict=True)
    )


def connected(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the connected components with two members and more, each sorted, in order of their first member."""
    ends = np.array(list(pairs), dtype=np.intp).reshape(-1, 2)
    groups = Groups(count)
    groups.join(ends[:, 0], ends[:, 1])
    return _listed(enumerate(groups.of(np.arange(count)).tolist()))


def _listed(named: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the groups of two and more of members that come each with the name of its group."""
    members: dict[int, list[int]] = defaultdict(list)
    for member, group in named:
        members[group].append(member)
    return [group for group in members.values() if len(group) > 1]


def _fingerprint(path: Path, *, perceptual: bool) -> Fingerprint:
    try:
        with path.open("rb") as file:
            stamp, content = Stamp.of(os.fstat(file.fileno())), file.read()
    except OSError as error:
        return Fingerprint("", None, f"It cannot be read: {error.strerror}.")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        image = load_upright(content, HASH_DECODE_SIDE)
    except ImageError as error:
        return Fingerprint(sha256, None, error.message, stamp)
    if not perceptual:
        return Fingerprint(sha256, None, None, stamp)
    import imagehash

    bits: npt.NDArray[np.bool_] = imagehash.phash(image).hash
    return Fingerprint(sha256, int.from_bytes(np.packbits(bits).tobytes(), "big"), None, stamp)
