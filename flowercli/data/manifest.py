"""The split manifest: which photograph is in which split, read by every later step.

A JSON file beside the class folders, or in the user's data directory where nothing can be written there. It holds each
photograph's path, class name, split and sha256.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from flowercli.atomic import write_text
from flowercli.data.manifest_file import OtherFormatError, parse
from flowercli.data.split import SPLITS
from flowercli.errors import DataError
from flowercli.installation import upgrade
from flowercli.plain_file import read_plain_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

FORMAT_VERSION = 1
# Of five million photographs.
MOST_BYTES = 2**30


@dataclass(frozen=True)
class Entry:
    """One photograph of the manifest; ``path`` is relative to the dataset, ``/``-separated.

    That of an outlier is relative to the outliers' folder, and its ``class_name`` is its kind. ``source`` is the
    dataset that a merged one has it from.
    """

    path: str
    class_name: str
    split: str
    sha256: str
    source: str = ""

    def to_json(self) -> str:
        """Return the line of the manifest file."""
        return json.dumps({key: value for key, value in vars(self).items() if value}, ensure_ascii=False)


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
    photos: tuple[Entry, ...]
    outliers: tuple[Entry, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def dataset_sha256(self) -> str:
        """Hash of the paths and contents of all photographs, whatever their split."""
        lines = "".join(f"{photo.path}\t{photo.sha256}\n" for photo in (*self.photos, *self.outliers))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def sha256(self) -> str:
        """Hash of the manifest itself."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def of_split(self, split: str) -> list[Entry]:
        """Return the photographs of a split.

        Raises:
            DataError: there are none.
        """
        photos = [photo for photo in self.photos if photo.split == split]
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

    def outliers_of(self, split: str) -> list[Entry]:
        """Return the outliers of a split; there may be none."""
        return [photo for photo in self.outliers if photo.split == split]

    def counts(self, split: str) -> dict[str, int]:
        """Return the number of photographs of each class in a split."""
        counts = dict.fromkeys(self.class_names, 0)
        for photo in self.photos:
            counts[photo.class_name] += photo.split == split
        return counts

    def to_json(self) -> str:
        """Return the text of the manifest file, one photograph a line so that versions can be compared."""
        lists = {
            "photos": [photo.to_json() for photo in self.photos],
            "outliers": [photo.to_json() for photo in self.outliers],
            "unreadable": [json.dumps(path, ensure_ascii=False) for path in self.unreadable],
        }
        head = {"format_version": FORMAT_VERSION} | {k: v for k, v in vars(self).items() if k not in lists}
        text = json.dumps(head, indent=2, ensure_ascii=False)[:-2]
        # Without what came later it is the text that it was before, and so has the hash that bundles record.
        for name, entries in lists.items():
            lines = ",\n".join(f"    {entry}" for entry in entries)
            text += f',\n  "{name}": [\n{lines}\n  ]' if entries or name == "photos" else ""
        return f"{text}\n}}\n"

    @classmethod
    def from_json(cls, text: str, source: Path) -> Self:
        """Parse a manifest file.

        Raises:
            DataError: it is damaged or of another format.
        """
        try:
            fields = parse(text, FORMAT_VERSION)
            return cls(
                seed=fields["seed"],
                ratios=tuple(fields["ratios"]),
                stratified=fields["stratified"],
                near_duplicates_checked=fields["near_duplicates_checked"],
                class_names=tuple(fields["class_names"]),
                photos=tuple(Entry(**photo) for photo in fields["photos"]),
                outliers=tuple(Entry(**photo) for photo in fields.get("outliers", ())),
                unreadable=tuple(fields.get("unreadable", ())),
            )
        except OtherFormatError as error:
            message = f"{source} has manifest format {error}; this version reads format {FORMAT_VERSION}."
            raise DataError(message, hint=upgrade()) from error
        except ValueError as error:
            hint = "Mend it there, or split anew: flowers split DIR"
            raise DataError(f"The split manifest {source} is damaged: {error}.", hint=hint) from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest file.

        Raises:
            DataError: it is missing, damaged or of another format.
        """
        try:
            text = read_plain_file(path, MOST_BYTES)
        except (OSError, ValueError) as error:
            raise DataError(f"The split manifest {path} cannot be read: {error}.", hint="flowers split DIR") from error
        return cls.from_json(text, path)

    def write(self, path: Path) -> None:
        """Write the manifest atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, self.to_json())


def class_indices(photos: Sequence[Entry], class_names: Sequence[str]) -> list[int]:
    """Return the class index of each photograph in the order of ``class_names``."""
    index = {name: position for position, name in enumerate(class_names)}
    return [index[photo.class_name] for photo in photos]


def missing_photos(photos: Iterable[Entry], root: Path) -> list[str]:
    """Return the paths of the photographs that are not below ``root``."""
    return [photo.path for photo in photos if not (root / photo.path).is_file()]
