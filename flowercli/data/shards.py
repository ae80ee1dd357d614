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
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flowercli import json_text
from flowercli.data.columns import Column, Packed, Table
from flowercli.data.manifest import Entry, Manifest, entry_table
from flowercli.errors import DataError, ImageError
from flowercli.plain_file import read_plain_file
from flowercli.shown import in_shell

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


def photographs(root: Path, photos: Sequence[Entry]) -> Photographs:
    """Return what each photograph of a dataset is read from.

    Raises:
        DataError: the shards below ``root`` are not whole, or lack one of them.
    """
    table = photos if isinstance(photos, Table) else entry_table(photos)
    return FromShards(Shards(root), table) if is_packed(root) else FromFiles(root, table.columns["path"])


def photographs_at(root: Path, manifest: Manifest, paths: Sequence[str]) -> Photographs:
    """Return the same for some photographs of a dataset that are given by their paths."""
    if not is_packed(root):
        return FromFiles(root, paths)
    wanted = set(paths)
    found = {photo.path: photo for photo in manifest.photos if photo.path in wanted}
    return photographs(root, [found[path] for path in paths])


class Photographs(Sequence[Any]):
    """What photographs ``[N]`` are read from: a path each, or bytes, which are fetched when they are asked for."""

    def __getitem__(self, place: Any) -> Any:
        """Return a path or bytes; of several places, what is at these.

        Raises:
            ImageError: the bytes are not what was packed.
        """
        places = range(len(self))[place]
        return Some(self, places) if isinstance(places, range) else self.source(places)

    def __add__(self, other: Photographs) -> Photographs:
        return Both(self, other)

    def source(self, place: int) -> Any:
        """Return the path or the bytes at a place from 0 on."""
        raise NotImplementedError

    def name(self, place: int) -> str:
        """Return what that photograph is called."""
        raise NotImplementedError


class FromFiles(Photographs):
    """Files below a folder."""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self._root, self._paths = str(root), paths

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, place: int) -> str:
        """Return the path."""
        return os.path.join(self._root, self._paths[place])

    source = name


class FromShards(Photographs):
    """Photographs in shards."""

    def __init__(self, shards: Shards, photos: Table[Entry]) -> None:
        self._shards, self._paths = shards, photos.columns["path"]
        self._rows, found = shards.find(photos.columns["sha256"])
        if not found.all():
            path = self._paths[int(np.flatnonzero(~found)[0])]
            message = f"{np.count_nonzero(~found)} photographs are not in the shards of {shards.root} ({path}, …)."
            raise DataError(message, hint=AGAIN)

    def __len__(self) -> int:
        return len(self._paths)

    def source(self, place: int) -> bytes:
        """Return the bytes."""
        return self._shards.read(int(self._rows[place]))

    def name(self, place: int) -> str:
        """Return the path that the manifest has, below the folder of the shards."""
        return os.path.join(self._shards.root, self._paths[place])


class Some(Photographs):
    """Those of others that are at some places."""

    def __init__(self, others: Photographs, places: range) -> None:
        self._others, self._places = others, places

    def __len__(self) -> int:
        return len(self._places)

    def source(self, place: int) -> Any:
        """Return the path or the bytes at a place from 0 on."""
        return self._others.source(self._places[place])

    def name(self, place: int) -> str:
        """Return what that photograph is called."""
        return self._others.name(self._places[place])


class Both(Photographs):
    """Some, and others behind them."""

    def __init__(self, first: Photographs, second: Photographs) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def source(self, place: int) -> Any:
        """Return the path or the bytes at a place from 0 on."""
        behind = place - len(self._first)
        return self._first.source(place) if behind < 0 else self._second.source(behind)

    def name(self, place: int) -> str:
        """Return what that photograph is called."""
        behind = place - len(self._first)
        return self._first.name(place) if behind < 0 else self._second.name(behind)


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
            raise DataError(message, hint=f"Go on with what began them: flowers pack DIR --output {in_shell(root)}")
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
    return rows[np.argsort(_keys(rows["sha256"]), kind="stable")]


def _keys(hashes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return the first eight bytes of hashes ``[N, 32]`` as numbers ``[N]``."""
    return np.ascontiguousarray(hashes[:, : KEY.itemsize]).view(KEY)[:, 0].astype(np.uint64)
