"""Read every photograph once: its sha256, whether it decodes, and its perceptual hash; then group the copies.

Copies on both sides of a split make a test score say more than it knows. Exact copies have the same
sha256; near copies (rescaled, recompressed) a pHash (``imagehash.phash``, which this is bit for bit) within a few bits.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from flowercli.data.alike import Groups, alike
from flowercli.data.columns import Column, Table, digests, perceptual_hashes, repeated
from flowercli.data.seen import TOGETHER, Read, Stamp, remember
from flowercli.errors import ImageError
from flowercli.inference.cpu import available_cores
from flowercli.inference.decode import open_file
from flowercli.inference.pipeline import ordered_map
from flowercli.inference.preprocess import load_upright
from flowercli.progress import Advance, untold

if TYPE_CHECKING:
    from flowercli.data.scan import Photo

# Measured on flower_photos: rescaled and recompressed copies differ by 0 to 2 bits, shots of one series by up to
# 6, and from 10 bits on there are more and more pairs by chance.
NEAR_BITS = 4
# Larger than the pHash's own 32 pixels, so that its resampling decides, not the JPEG decoder's.
HASH_DECODE_SIDE = 128
HASH_SIDE, HASH_FREQUENCIES = 32, 8
# Of a cosine transform (type II, without its scale): the lowest frequencies ``[8, 32]``.
LOW_COSINES = np.cos(np.pi / HASH_SIDE * np.outer(np.arange(HASH_FREQUENCIES), np.arange(HASH_SIDE) + 0.5))
# What differs less is the same but for the rounding of a processor: a picture of one colour has no frequencies.
COSINE_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What one read of a photograph tells.

    ``error`` is why it cannot be decoded, or ``None``; ``stamp`` is that of the file, if it could be opened.
    """

    sha256: str
    perceptual_hash: int | None
    error: str | None
    stamp: Stamp | None = None


class Readable(NamedTuple):
    """The photographs that can be read with what their read told, and the paths of the others with the reason."""

    photos: Table[Photo]
    sha256: Column[str]
    perceptual_hash: Column[int | None]
    unreadable: list[tuple[str, str]]


def read_all(root: Path, photos: Table[Photo], progress: Callable[[int], None], *, keep: bool = False) -> Readable:
    """Read every photograph, on all cores, and keep their order; ``progress`` is called with 1 for each.

    With ``keep``, what was read is kept for :mod:`flowercli.data.seen`.
    """
    sha256, perceptual_hash = digests(), perceptual_hashes()
    good, unreadable, reads = array("q"), list[tuple[str, str]](), dict[str, Read]()
    paths = photos.columns["path"]
    for place, (path, told) in enumerate(zip(paths, _fingerprints(root, paths), strict=True)):
        progress(1)
        if told.error is not None:
            unreadable.append((path, told.error))
            continue
        good.append(place)
        sha256.append(told.sha256)
        perceptual_hash.append(told.perceptual_hash)
        if keep and told.stamp is not None:
            reads[path] = Read(told.stamp, told.sha256)
        if len(reads) == TOGETHER:
            remember(root, reads.items())
            reads.clear()
    remember(root, reads.items())
    return Readable(photos.take(good) if unreadable else photos, sha256, perceptual_hash, unreadable)


def _fingerprints(root: Path, paths: Iterable[str]) -> Iterator[Fingerprint]:
    return ordered_map(fingerprint, (os.path.join(root, path) for path in paths), available_cores())


def exact_groups(hashes: Sequence[str]) -> list[list[int]]:
    """Group the indices of photographs with the same sha256; only groups of two and more."""
    starts = np.fromiter((int(sha256[:16], 16) for sha256 in hashes), np.uint64, len(hashes))
    members: dict[str, list[int]] = defaultdict(list)
    for index in repeated(starts).tolist():
        members[hashes[index]].append(index)
    return [group for group in members.values() if len(group) > 1]


def near_groups(hashes: Sequence[int | None], advance: Advance = untold) -> list[list[int]]:
    """Group the indices of photographs whose pHash is within a few bits of another's in the group.

    ``advance`` is called some dozens of times meanwhile.
    """
    known = np.fromiter((value is not None for value in hashes), bool, len(hashes)).nonzero()[0]
    values = np.fromiter((value for value in hashes if value is not None), np.uint64, len(known))
    return _listed(known, alike(values, NEAR_BITS, partial(advance, "Looking for near copies")))


def connected(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the connected components with two members and more, each sorted, in order of their first member."""
    ends = np.array(list(pairs), dtype=np.intp).reshape(-1, 2)
    groups = Groups(count)
    groups.join(ends[:, 0], ends[:, 1])
    everything = np.arange(count)
    return _listed(everything, groups.of(everything))


def _listed(members: npt.NDArray[np.intp], groups: npt.NDArray[np.intp]) -> list[list[int]]:
    """Return the groups of two and more: ``members`` ``[N]``, and the name ``[N]`` of each one's group."""
    places = repeated(groups)
    found: dict[int, list[int]] = defaultdict(list)
    for member, group in zip(members[places].tolist(), groups[places].tolist(), strict=True):
        found[group].append(member)
    return list(found.values())


def fingerprint(path: str) -> Fingerprint:
    """Read a photograph."""
    try:
        with open_file(path) as file:
            stamp, content = Stamp.of(os.fstat(file.fileno())), file.read()
    except ImageError as error:
        return Fingerprint("", None, error.message)
    except OSError as error:
        return Fingerprint("", None, f"It cannot be read: {error.strerror}.")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        image = load_upright(content, HASH_DECODE_SIDE)
    except ImageError as error:
        return Fingerprint(sha256, None, error.message, stamp)
    return Fingerprint(sha256, perceptual_hash(image), None, stamp)


def perceptual_hash(image: Image.Image) -> int:
    """Return the pHash of a picture (Zauner, 2010), 64 bits, the first the highest."""
    pixels = np.asarray(image.convert("L").resize((HASH_SIDE, HASH_SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    frequencies = (LOW_COSINES @ pixels @ LOW_COSINES.T).round(COSINE_DIGITS)
    return int.from_bytes(np.packbits(frequencies > np.median(frequencies)).tobytes(), "big")
