"""Read every photograph once: its sha256, whether it decodes, and its perceptual hash; then group the copies.

Copies on both sides of a split make a test score say more than it knows. Exact copies have the same
sha256; near copies (rescaled, recompressed) a pHash (``imagehash.phash``) within a few bits.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flowercli.errors import ImageError
from flowercli.inference.cpu import available_cores
from flowercli.inference.preprocess import load_upright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from flowercli.data.scan import Photo

HASH_BITS = 64
# Measured on flower_photos: rescaled and recompressed copies differ by 0 to 2 bits, shots of one series by up to
# 6, and from 10 bits on there are more and more pairs by chance.
NEAR_BITS = 4
# Larger than the pHash's own 32 pixels, so that its resampling decides, not the JPEG decoder's.
HASH_DECODE_SIDE = 128


@dataclass(frozen=True)
class Fingerprint:
    """What one read of a photograph tells. ``error`` is why it cannot be decoded, or ``None``."""

    sha256: str
    perceptual_hash: int | None
    error: str | None


def can_hash_perceptually() -> bool:
    """Whether ``imagehash`` (extras ``data`` and ``train``) is installed."""
    return importlib.util.find_spec("imagehash") is not None


def fingerprint_all(root: Path, photos: Sequence[Photo], progress: Callable[[int], None]) -> list[Fingerprint]:
    """Fingerprint every photograph, in order, on all cores; ``progress`` is called with 1 for each."""
    perceptual = can_hash_perceptually()

    def fingerprint(photo: Photo) -> Fingerprint:
        result = _fingerprint(root / photo.path, perceptual=perceptual)
        progress(1)
        return result

    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(fingerprint, photos))


def exact_groups(fingerprints: Sequence[Fingerprint]) -> list[list[int]]:
    """Group the indices of photographs with the same bytes; only groups of two and more."""
    by_sha256: dict[str, list[int]] = defaultdict(list)
    for index, fingerprint in enumerate(fingerprints):
        by_sha256[fingerprint.sha256].append(index)
    return [group for group in by_sha256.values() if len(group) > 1]


def near_groups(fingerprints: Sequence[Fingerprint], bits: int = NEAR_BITS) -> list[list[int]]:
    """Group the indices of photographs whose pHash differs by at most ``bits`` bits from another's in the group."""
    hashes = [fingerprint.perceptual_hash for fingerprint in fingerprints]
    known = [index for index, value in enumerate(hashes) if value is not None]
    values = np.array([hashes[index] for index in known], dtype=np.uint64)
    pairs = ((known[first], known[second]) for first, second in _close_pairs(values, bits))
    return connected(len(fingerprints), pairs)


def connected(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the connected components with two members and more, each sorted, in order of their first member."""
    parent = list(range(count))

    def find(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for first, second in pairs:
        low, high = sorted((find(first), find(second)))
        parent[high] = low
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(count):
        members[find(index)].append(index)
    return [group for group in members.values() if len(group) > 1]


def _fingerprint(path: Path, *, perceptual: bool) -> Fingerprint:
    try:
        content = path.read_bytes()
    except OSError as error:
        return Fingerprint("", None, f"It cannot be read: {error.strerror}.")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        image = load_upright(content, HASH_DECODE_SIDE)
    except ImageError as error:
        return Fingerprint(sha256, None, error.message)
    if not perceptual:
        return Fingerprint(sha256, None, None)
    import imagehash

    bits: npt.NDArray[np.bool_] = imagehash.phash(image).hash
    return Fingerprint(sha256, int.from_bytes(np.packbits(bits).tobytes(), "big"), None)


def _close_pairs(values: npt.NDArray[np.uint64], bits: int) -> set[tuple[int, int]]:
    """Find the pairs at most ``bits`` bits apart without comparing all: one of ``bits + 1`` bands is equal."""
    edges = np.linspace(0, HASH_BITS, bits + 2).astype(int)
    pairs: set[tuple[int, int]] = set()
    for start, end in itertools.pairwise(edges):
        band = (values >> np.uint64(start)) & np.uint64((1 << int(end - start)) - 1)
        order = np.argsort(band, kind="stable")
        boundaries = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(order, boundaries):
            pairs |= _close_in_bucket(values, bucket, bits)
    return pairs


def _close_in_bucket(values: npt.NDArray[np.uint64], bucket: npt.NDArray[np.intp], bits: int) -> set[tuple[int, int]]:
    pairs: set[tuple[int, int]] = set()
    for position, first in enumerate(bucket[:-1]):
        rest = bucket[position + 1 :]
        close = rest[popcount(values[rest] ^ values[first]) <= bits]
        pairs |= {(min(int(first), int(second)), max(int(first), int(second))) for second in close}
    return pairs


def popcount(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Count the bits that are set in each value."""
    counts: npt.NDArray[np.uint8] = np.bitwise_count(values)
    return counts
