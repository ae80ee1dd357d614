"""Pack the photographs of a split manifest into shards; what was packed before a break is not packed again."""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flowercli import json_text
from flowercli.atomic import PARTIAL_PREFIX, new_file, write_text
from flowercli.data.changes import split_command
from flowercli.data.packing import MTIME
from flowercli.data.places import manifest_suffix
from flowercli.data.scan import MANIFEST_FILES
from flowercli.data.shards import FORMAT_VERSION, HEAD, INDEX, ROW, is_packed, read_head, sorted_index
from flowercli.data.split import SPLITS, random_permutation
from flowercli.errors import DataError, UsageError
from flowercli.progress import Advance, untold

if TYPE_CHECKING:
    from flowercli.data.manifest import Entry, Manifest

BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class PackedShards:
    """What was packed: shards by name, those of them that were there before, photographs, and bytes of all shards."""

    names: tuple[str, ...]
    kept: int
    photos: int
    size: int


class Sample(NamedTuple):
    """The three files of a photograph in a tar, by their names, with their sizes in bytes."""

    files: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        """The bytes that they take there, heads and padding with them."""
        return sum(BLOCK + -(-size // BLOCK) * BLOCK for _, size in self.files)


@dataclass(frozen=True)
class Packer:
    """A dataset on its way into shards."""

    root: Path
    manifest: Manifest
    output: Path
    size: int

    def pack(self, advance: Advance = untold) -> PackedShards:
        """Write the shards, each whole or not at all, and their index last.

        Photographs of a split are in an order drawn by the manifest's seed: who reads shards one after the other wants
        the classes mixed.

        Raises:
            UsageError: the folder holds something else.
            DataError: a photograph is not that of the manifest.
        """
        sizes = self._sizes()
        plan = list(self._plan(sizes))
        names = [name for name, _ in plan]
        self._begin(names)
        index, kept = np.zeros(len(sizes), ROW), 0
        for number, (name, places) in enumerate(plan):
            total = self._fill(index, number, places, sizes)
            path = self.output / name
            if path.is_file() and path.stat().st_size == total:
                kept += 1
                advance("Packing", len(sizes), len(places))
            else:
                self._write(path, places, sizes, advance)
        with new_file(self.output / INDEX) as temporary, temporary.open("wb") as file:
            np.save(file, sorted_index(index), allow_pickle=False)
        written = sum((self.output / name).stat().st_size for name in names)
        return PackedShards(tuple(names), kept, len(sizes), written)

    def _begin(self, names: Sequence[str]) -> None:
        head = {"format_version": FORMAT_VERSION, "manifest_sha256": self.manifest.sha256, "size": self.size}
        head["shards"] = list(names)
        if is_packed(self.output):
            if read_head(self.output) != head:
                message = f"{self.output} holds shards of another split, or of another size."
                raise UsageError(message, hint="Choose another folder: --output NEW")
        elif self.output.exists() and any(not path.name.startswith(PARTIAL_PREFIX) for path in self.output.iterdir()):
            raise UsageError(f"{self.output} exists already, and holds no shards.", hint="--output NEW")
        else:
            self.output.mkdir(parents=True, exist_ok=True)
            write_text(self.output / HEAD, json_text.dumps(head, indent=2) + "\n")
        manifest = self.output / MANIFEST_FILES[manifest_suffix(len(self.manifest.photos))]
        if not manifest.exists():
            self.manifest.write(manifest)

    def _sizes(self) -> npt.NDArray[np.int64]:
        paths = self.manifest.photos.columns["path"]
        try:
            sizes = (os.stat(os.path.join(self.root, path)).st_size for path in paths)
            return np.fromiter(sizes, np.int64, len(paths))
        except OSError as error:
            raise self._differs(str(error.filename), f"cannot be read: {error.strerror}") from error

    def _plan(self, sizes: npt.NDArray[np.int64]) -> Iterator[tuple[str, list[int]]]:
        """Yield the name of each shard, and which photographs are in it, in order."""
        splits = np.array([SPLITS.index(split) for split in self.manifest.photos.columns["split"]], dtype=np.uint8)
        for number, split in enumerate(SPLITS):
            places = np.flatnonzero(splits == number)
            places = places[np.array(random_permutation(len(places), self.manifest.seed), dtype=np.intp)]
            filled = np.cumsum(sizes[places]) - sizes[places]  # Before each photograph.
            starts = np.flatnonzero(np.diff(filled // self.size, prepend=-1)).tolist()
            for shard, (start, end) in enumerate(pairwise([*starts, len(places)])):
                yield f"{split}-{shard:05}.tar", places[start:end].tolist()

    @cached_property
    def _class_index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.manifest.class_names)}

    def _sample(self, place: int, size: int) -> tuple[Entry, Sample, dict[str, bytes]]:
        """Return a photograph, its files, and the content of those beside it."""
        photo = self.manifest.photos[place]
        number = f"{place:09}"
        index = self._class_index[photo.class_name]
        beside = {f"{number}.cls": b"%d" % index, f"{number}.json": photo.to_json().encode()}
        picture = number + os.path.splitext(photo.path)[1].lower()
        files = ((picture, size), *((name, len(content)) for name, content in beside.items()))
        return photo, Sample(files), beside

    def _fill(self, index: npt.NDArray[Any], number: int, places: list[int], sizes: npt.NDArray[np.int64]) -> int:
        """Put down where the photographs of a shard will be, and return the bytes of it."""
        offset = 0
        for place in places:
            photo, sample, _ = self._sample(place, int(sizes[place]))
            sha256 = np.frombuffer(bytes.fromhex(photo.sha256), np.uint8)
            index[place] = (sha256, number, offset + BLOCK, sizes[place])
            offset += sample.size
        return -(-(offset + 2 * BLOCK) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE

    def _write(self, path: Path, places: list[int], sizes: npt.NDArray[np.int64], advance: Advance) -> None:
        with new_file(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for place in places:
                photo, sample, beside = self._sample(place, int(sizes[place]))
                picture = sample.files[0][0]
                for name, content in {picture: self._read(photo), **beside}.items():
                    member = tarfile.TarInfo(name)
                    member.size, member.mtime, member.mode = len(content), MTIME, 0o644
                    tar.addfile(member, io.BytesIO(content))
                advance("Packing", len(sizes))

    def _read(self, photo: Entry) -> bytes:
        path = os.path.join(self.root, photo.path)
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise self._differs(path, f"cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != photo.sha256:
            raise self._differs(path, "was edited since the split")
        return content

    def _differs(self, path: str, why: str) -> DataError:
        go_on = shlex.join(["flowers", "pack", str(self.root), "--output", str(self.output)])
        anew = split_command(self.root, self.manifest, None)
        hint = f"Put it back as it was, then: {go_on}\nOr split what is there now, and pack into a new folder: {anew}"
        return DataError(f"{path} {why}.", hint=hint)
