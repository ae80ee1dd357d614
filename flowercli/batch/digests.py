"""Which of many paths are known already, at 16 bytes each; no pyarrow."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

# So many bytes tell two of 10¹⁰ paths apart, but for one chance in 10¹⁸.
DIGEST = 16


def digests(paths: Iterable[str]) -> npt.NDArray[np.bytes_]:
    """Return a digest of each path."""
    return np.array([digest(path) for path in paths], f"S{DIGEST}")


def digest(path: str) -> bytes:
    """Return the digest of one path, which on Linux may be any bytes."""
    return hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()


def is_in(known: npt.NDArray[np.bytes_], path: str) -> bool:
    """Tell whether a path is among those whose digests are given, sorted."""
    if not len(known):
        return False
    wanted = digests([path])
    place = int(np.searchsorted(known, wanted)[0])
    return place < len(known) and bool(known[place] == wanted[0])
