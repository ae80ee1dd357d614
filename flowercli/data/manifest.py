"""The split manifest: which photograph is in which split, read by every later step.

A file beside the class folders, or in the user's data directory where nothing can be written there: JSON, or Parquet
where there are many. It holds each photograph's path, class name, split and sha256.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import compress, count
from pathlib import Path
from typing import Self

from flowercli.atomic import new_file
from flowercli.bundle import MANIFEST, MANIFEST_PARQUET
from flowercli.data import manifest_parquet
from flowercli.data.columns import Repeated, Table, Texts, digests, perceptual_hashes
from flowercli.data.manifest_file import OtherFormatError, parse
from flowercli.data.places import manifest_suffix
from flowercli.data.scan import PARQUET
from flowercli.data.split import SPLITS
from flowercli.errors import DataError, needs_extra
from flowercli.installation import upgrade
from flowercli.plain_file import read_plain_file

FORMAT_VERSION = 1
# Of five million photographs.
MOST_BYTES = 2**30
as_json = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Entry:
    """One photograph of the manifest; ``path`` is relative to the dataset, ``/``-separated.

    That of an outlier is relative to the outliers' folder, and its ``class_name`` is its kind. ``source`` is the
    dataset that a merged one has it from. ``perceptual_hash`` is that of ``data.duplicates``; manifests of
    earlier versions have none.
    """

    path: str
    class_name: str
    split: str
    sha256: str
    source: str = ""
    perceptual_hash: int | None = None

    def to_json(self) -> str:
        """Return the line of the manifest file."""
        row = {"path": self.path, "class_name": self.class_name, "split": self.split, "sha256": self.sha256}
        if self.source:
            row["source"] = self.source
        if self.perceptual_hash is not None:
            row["perceptual_hash"] = f"{self.perceptual_hash:016x}"
        return as_json(row)

    @classmethod
    def from_json(cls, row: Mapping[str, str]) -> Self:
        """Return the photograph of a line that was checked."""
        hashed = row.get("perceptual_hash")
        return cls(**{**row, "perceptual_hash": None if hashed is None else int(hashed, 16)})  # type: ignore[arg-type]


def entry_table(entries: Iterable[Entry] = ()) -> Table[Entry]:
    """Return a table of photographs."""
    texts = {"path": Texts(), "class_name": Repeated(), "split": Repeated(), "sha256": digests(), "source": Repeated()}
    table = Table(Entry, **texts, perceptual_hash=perceptual_hashes())
    table.extend(entries)
    return table


@dataclass(frozen=True)
class Manifest:
    """The whole split: how it was made and every photograph in it, in sorted order.

    ``outliers`` are pictures that belong to no class, for a model that learns to refuse; ``unreadable`` are the paths
    of photographs that could not be read, and are in no split.
    """

    seed: int
    ratios: tuple[float, ...]
    stratified: bool
    near_duplicates_checked: bool
    class_names: tuple[str, ...]
    photos: Table[Entry]
    outliers: Table[Entry] = field(default_factory=entry_table)
    unreadable: tuple[str, ...] = ()

    @cached_property
    def dataset_sha256(self) -> str:
        """Hash of the paths and contents of all photographs, whatever their split."""
        digest = hashlib.sha256()
        for table in (self.photos, self.outliers):
            for path, sha256 in zip(table.columns["path"], table.columns["sha256"], strict=True):
                digest.update(f"{path}\t{sha256}\n".encode())
        return digest.hexdigest()

    @cached_property
    def sha256(self) -> str:
        """Hash of the manifest itself: of its JSON, also where its file is Parquet."""
        digest = hashlib.sha256()
        for piece in self._json():
            digest.update(piece.encode())
        return digest.hexdigest()

    @property
    def name_in_bundle(self) -> str:
        """What its file is called in a bundle, and in the folder of a run."""
        return MANIFEST_PARQUET if manifest_suffix(len(self.photos)) == PARQUET else MANIFEST

    def of_split(self, split: str) -> Table[Entry]:
        """Return the photographs of a split.

        Raises:
            DataError: there are none.
        """
        photos = _of_split(self.photos, split)
        if not photos:
            raise DataError(f"The split '{split}' has no photographs.", hint=self._ratios_that_fill_all())
        return photos

    def _ratios_that_fill_all(self) -> str:
        fewest = min(Counter(photo.class_name for photo in self.photos).values(), default=0)
        stratify = self.stratified and fewest >= len(SPLITS)
        if (count := fewest if stratify else len(self.photos)) < len(SPLITS):
            return "It takes three photographs at least: one to train with, one to validate, one to test."
        share = max(0.1, math.ceil(100 / count) / 100)
        ratios = f"{1 - 2 * share:.2f},{share:.2f},{share:.2f}"
        return f"flowers split DIR --ratios {ratios}{' --stratify' * stratify}"

    def outliers_of(self, split: str) -> Table[Entry]:
        """Return the outliers of a split; there may be none."""
        return _of_split(self.outliers, split)

    def counts(self, split: str) -> dict[str, int]:
        """Return the number of photographs of each class in a split."""
        columns = self.photos.columns
        found = Counter(compress(columns["class_name"], map(split.__eq__, columns["split"])))
        return {name: found[name] for name in self.class_names}

    def to_json(self) -> str:
        """Return the text of the manifest file, one photograph a line so that versions can be compared."""
        return "".join(self._json())

    def _json(self) -> Iterator[str]:
        """Yield that text in pieces."""
        lists = {
            "photos": (photo.to_json() for photo in self.photos),
            "outliers": (photo.to_json() for photo in self.outliers),
            "unreadable": map(as_json, self.unreadable),
        }
        head = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in lists}
        yield json.dumps({"format_version": FORMAT_VERSION} | head, indent=2, ensure_ascii=False)[:-2]
        # Without what came later it is the text that it was before, and so has the hash that bundles record.
        for name, entries in lists.items():
            if getattr(self, name) or name == "photos":
                yield f',\n  "{name}": [\n    {next(entries, "")}'.rstrip(" ")
                yield from (f",\n    {entry}" for entry in entries)
                yield "\n  ]"
        yield "\n}\n"

    @classmethod
    def from_json(cls, text: str, source: Path) -> Self:
        """Parse a manifest file.

        Raises:
            DataError: it is damaged or of another format.
        """
        try:
            parsed = parse(text, FORMAT_VERSION)
            return cls(
                seed=parsed["seed"],
                ratios=tuple(parsed["ratios"]),
                stratified=parsed["stratified"],
                near_duplicates_checked=parsed["near_duplicates_checked"],
                class_names=tuple(parsed["class_names"]),
                photos=entry_table(map(Entry.from_json, parsed["photos"])),
                outliers=entry_table(map(Entry.from_json, parsed.get("outliers", ()))),
                unreadable=tuple(parsed.get("unreadable", ())),
            )
        except OtherFormatError as error:
            message = f"{source} has manifest format {error}; this version reads format {FORMAT_VERSION}."
            raise DataError(message, hint=upgrade()) from error
        except ValueError as error:
            hint = "Mend it there, or split anew: flowers split DIR"
            raise DataError(f"The split manifest {source} is damaged: {error}.", hint=hint) from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest file, JSON or Parquet.

        Raises:
            DataError: it is missing, damaged or of another format.
            MissingExtraError: it is Parquet, and what reads that is not installed.
        """
        photos, outliers = entry_table(), entry_table()
        try:
            if not manifest_parquet.is_parquet(path):
                return cls.from_json(read_plain_file(path, MOST_BYTES), path)
            with needs_extra("batch"):
                head = manifest_parquet.read_head(path)
        except (OSError, ValueError) as error:
            raise DataError(f"The split manifest {path} cannot be read: {error}.", hint="flowers split DIR") from error
        found = cls.from_json(head, path)
        try:
            manifest_parquet.read_rows(path, found.class_names, photos, outliers)
        except (OSError, ValueError, NotImplementedError) as error:  # The last is pyarrow's, of columns of odd types.
            hint = "Split anew: flowers split DIR"
            raise DataError(f"The split manifest {path} is damaged: {error}.", hint=hint) from error
        return replace(found, photos=photos, outliers=outliers)

    def write(self, path: Path) -> None:
        """Write the manifest atomically: as Parquet where its name ends so, and as JSON otherwise."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as temporary:
            self.write_to(temporary)

    def write_to(self, path: Path) -> None:
        """Write the manifest into a file that nobody reads yet.

        Raises:
            MissingExtraError: it is to be Parquet, and what writes that is not installed.
        """
        if path.suffix == PARQUET:
            head = replace(self, photos=entry_table(), outliers=entry_table()).to_json()
            with needs_extra("batch"):
                manifest_parquet.write(path, head, self.photos, self.outliers)
            return
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(self._json())


def _of_split(photos: Table[Entry], split: str) -> Table[Entry]:
    return photos.take(list(compress(count(), map(split.__eq__, photos.columns["split"]))))


def class_indices(photos: Sequence[Entry], class_names: Sequence[str]) -> list[int]:
    """Return the class index of each photograph in the order of ``class_names``."""
    index = {name: position for position, name in enumerate(class_names)}
    return [index[photo.class_name] for photo in photos]
