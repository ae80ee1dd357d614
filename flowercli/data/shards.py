"""Photographs in shards: tars that WebDataset reads one after the other, and an index by which each is read alone.

Of each photograph a shard has ``NUMBER.jpg``, as it is, ``NUMBER.cls``, its class index, and ``NUMBER.json``, its line
of the split manifest. Beside the shards lie the manifest, ``shards.json``, which says what was to be packed, and
``shards.npy``, written last: a row a photograph with its sha256, which finds it, its shard, offset and size. The heads
within a tar are never looked at, so they lead nowhere; what is read is held to its sha256.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli import json_text
from flowercli.data.columns import Column, Packed, Table
from flowercli.data.manifest import entry_table
from flowercli.errors import DataError, ImageError
from flowercli.plain_file import read_plain_file

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from flowercli.data.manifest import Entry

FORMAT_VERSION = 1
HEAD, INDEX = "shards.json", "shards.npy"
NAME = re.compile(r"(train|val|test)-\d{5,9}\.tar")
ROW = np.dtype([("sha256", "u1", 32), ("shard", "<u4"), ("offset", "<u8"), ("size", "<u8")])
KEY = np.dtype(">u8")
PACK_AGAIN = "flowers pack DIR --output NEW"
AGAIN = f"Pack them again: {PACK_AGAIN}"


def is_packed(root: Path) -> bool:
    """Whether a folder holds shards, or is to."""
    return (root / HEAD).exists()


def photographs(root: Path, photos: Sequence[Entry]) -> FromFiles | FromShards:
    """Return what each photograph of a dataset is read from: a path, or bytes, which are fetched when asked for.

    Raises:
        DataError: the shards below ``root`` are not whole, or lack one of them.
    """
    table = photos if isinstance(photos, Table) else entry_table(photos)
    return FromShards(Shards(root), table) if is_packed(root) else FromFiles(root, table)


def photographs_at(root: Path, photos: Table[Entry], paths: Sequence[str]) -> Sequence[Any]:
    """Return the same for some photographs of a dataset that are given by their paths."""
    if not is_packed(root):
        return [os.path.join(root, path) for path in paths]
    wanted = set(paths)
    found = {photo.path: photo for photo in photos if photo.path in wanted}
    return photographs(root, [found[path] for path in paths])


class FromFiles(Sequence[Any]):
    """The paths of photographs ``[N]`` below a folder."""

    def __init__(self, root: Path, photos: Table[Entry]) -> None:
        self._root, self._paths = str(root), photos.columns["path"]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, place: Any) -> Any:
        """Return a path, or a list of some."""
        if isinstance(place, slice):
            return [self[each] for each in range(len(self))[place]]
        return os.path.join(self._root, self._paths[place])

    name = __getitem__


class FromShards(Sequence[Any]):
    """The bytes of photographs ``[N]`` in shards, read when they are asked for."""

    def __init__(self, shards: Shards, photos: Table[Entry]) -> None:
        self._shards, self._paths = shards, photos.columns["path"]
        self._rows, found = shards.find(photos.columns["sha256"])
        if not found.all():
            path = self._paths[int(np.flatnonzero(~found)[0])]
            message = f"{np.count_nonzero(~found)} photographs are not in the shards of {shards.root} ({path}, …)."
            raise DataError(message, hint=AGAIN)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, place: Any) -> Any:
        """Return the bytes of a photograph, or a list of some.

        Raises:
            ImageError: they are not what was packed.
        """
        if isinstance(place, slice):
            return [self[each] for each in range(len(self))[place]]
        return self._shards.read(int(self._rows[range(len(self))[place]]))

    def name(self, place: int) -> str:
        """Return what a photograph is called."""
        return os.path.join(self._shards.root, self._paths[place])


class Shards:
    """A folder that ``flowers pack`` wrote.

    Raises:
        DataError: it is not whole, or not what this version reads.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names = read_head(root)["shards"]
        if not (root / INDEX).is_file():
            message = f"The shards in {root} are not finished: there is no {INDEX}."
            raise DataError(message, hint=f"Go on with what began them: flowers pack DIR --output {root}")
        try:
            index = self._index
            sizes = np.array([(root / name).stat().st_size for name in self._names], dtype=np.uint64)
        except (OSError, EOFError, ValueError) as error:
            raise DataError(f"The shards in {root} are damaged: {error}.", hint=AGAIN) from error
        ends = index["offset"] + index["size"]
        if (index["shard"] >= len(sizes)).any() or (ends > sizes[index["shard"]]).any():
            raise DataError(f"The shards in {root} are shorter than their index says.", hint=AGAIN)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the index where it is: another process maps it anew."""
        return {"root": self.root, "_names": self._names}

    @cached_property
    def _index(self) -> npt.NDArray[Any]:
        index = np.load(self.root / INDEX, mmap_mode="r", allow_pickle=False)
        if index.dtype != ROW or index.ndim != 1:
            raise ValueError(f"{INDEX} is no index")
        found: npt.NDArray[Any] = index
        return found

    def find(self, hashes: Column[str]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Return the row ``[N]`` of each photograph by its sha256, and whether it is one at all, ``[N]``."""
        assert isinstance(hashes, Packed)
        wanted = np.frombuffer(bytes(hashes.content), np.uint8).reshape(-1, ROW["sha256"].shape[0])
        if not len(self._index):
            return np.zeros(len(wanted), np.intp), np.zeros(len(wanted), bool)
        rows = np.searchsorted(_keys(self._index["sha256"]), _keys(wanted)).clip(max=len(self._index) - 1)
        return rows, (self._index["sha256"][rows] == wanted).all(axis=1)

    def read(self, row: int) -> bytes:
        """Return the bytes of a photograph.

        Raises:
            ImageError: they cannot be read, or are not what was packed.
        """
        entry = self._index[row]
        path = self.root / self._names[entry["shard"]]
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(int(entry["offset"]))
                content: bytes = file.read(int(entry["size"]))
        except OSError as error:
            raise ImageError("unreadable", f"{path.name} cannot be read: {error.strerror}.") from error
        if hashlib.sha256(content).digest() != entry["sha256"].tobytes():
            raise ImageError("unreadable", f"{path.name} does not hold what was packed.")
        return content


def read_head(root: Path) -> dict[str, Any]:
    """Return what ``shards.json`` says: of which manifest they are, how large, and their names.

    Raises:
        DataError: it is damaged, or of another version.
    """
    try:
        head = json_text.loads(read_plain_file(root / HEAD))
        is_ours = head["format_version"] == FORMAT_VERSION and all(map(NAME.fullmatch, head["shards"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{root / HEAD} is damaged: {error}.", hint=AGAIN) from error
    if not is_ours:
        raise DataError(f"{root / HEAD} is not what this version reads.", hint=AGAIN)
    found: dict[str, Any] = head
    return found


def sorted_index(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the rows of an index in the order in which they are looked for."""
    ordered: npt.NDArray[Any] = rows[np.argsort(_keys(rows["sha256"]), kind="stable")]
    return ordered


def _keys(hashes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return the first eight bytes of hashes ``[N, 32]`` as numbers ``[N]``."""
    return np.ascontiguousarray(hashes[:, : KEY.itemsize]).view(KEY)[:, 0].astype(np.uint64)
