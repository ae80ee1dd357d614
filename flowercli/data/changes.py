"""What became of the photographs of a split manifest since it was made: which were added, removed, edited."""

from __future__ import annotations

import shlex
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flowercli.data.class_names import composed
from flowercli.data.columns import Table, keys_of
from flowercli.data.scan import parts_of, scan_dataset
from flowercli.data.seen import sha256_of
from flowercli.data.shards import PACK_AGAIN, Shards, is_packed
from flowercli.data.split import DEFAULT_RATIOS, DEFAULT_SEED, SPLITS
from flowercli.errors import DataError
from flowercli.progress import Advance, untold

if TYPE_CHECKING:
    from flowercli.data.manifest import Entry, Manifest


@dataclass(frozen=True)
class Changes:
    """The paths of what is there and not listed, listed and not there, or there with other content."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.edited)

    def __add__(self, other: Changes) -> Changes:
        """Return both."""
        return Changes(self.added + other.added, self.removed + other.removed, self.edited + other.edited)

    def below(self, root: Path) -> Changes:
        """Return the same with the folder before each path."""
        return Changes(
            *(tuple(f"{root}/{path}" for path in paths) for paths in (self.added, self.removed, self.edited))
        )

    def __str__(self) -> str:
        """Return the numbers, each with an example."""
        named = {"added": self.added, "removed": self.removed, "edited": self.edited}
        told = ", ".join(
            f"{len(paths)} {what} ({paths[0]}{', …' if len(paths) > 1 else ''})"
            for what, paths in named.items()
            if paths
        )
        both = set(map(composed, self.added)) & set(map(composed, self.removed))
        return f"{told}; {len(both)} of these have their names in another Unicode form only" if both else told


def missing_photos(photos: Table[Entry], root: Path) -> list[str]:
    """Return the paths of the photographs that are not below ``root``, or not in the shards there."""
    paths = photos.columns["path"]
    if is_packed(root):
        there = Shards(root).find(photos.columns["sha256"])[1]
        return [paths[place] for place in np.flatnonzero(~there).tolist()]
    return [path for path in paths if not (root / path).is_file()]


def changed(root: Path, entries: Table[Entry], advance: Advance = untold) -> Changes:
    """Compare listed photographs with what is below ``root``; those that look untouched are not read.

    What is in shards is known by its content, and held to it when it is read.
    """
    if is_packed(root):
        return Changes(removed=tuple(missing_photos(entries, root)))
    removed: list[str] = []
    edited: list[str] = []
    for entry, sha256 in zip(entries, sha256_of(root, entries.columns["path"], advance), strict=True):
        if sha256 != entry.sha256:
            (removed if sha256 is None else edited).append(entry.path)
    return Changes(removed=tuple(removed), edited=tuple(edited))


def added(root: Path, manifest: Manifest) -> Changes:
    """Find the photographs below ``root`` that a manifest does not list; those that it could not read are no news."""
    if is_packed(root):
        return Changes()
    try:
        there = scan_dataset(root).photos.columns["path"]
    except DataError:  # With what it lacks, told elsewhere, it is no dataset any more.
        return Changes()
    listed = [keys_of(paths) for paths in (manifest.photos.columns["path"], manifest.unreadable)]
    news = np.flatnonzero(~np.isin(keys_of(there), np.concatenate(listed)))
    return Changes(added=tuple(map(there.value, news.tolist())))


def split_command(root: Path, manifest: Manifest, outliers: Path | None, output: str | None = None) -> str:
    """Return the command that splits a dataset anew in the way in which a manifest was made.

    Args:
        root: the dataset.
        manifest: says how; of a dataset that was split already it has the shares that came of it.
        outliers: where they are, if it has some.
        output: where the manifest is, if not where it is looked for by itself.
    """
    columns = manifest.photos.columns
    if is_packed(root):
        return PACK_AGAIN
    if any(columns["source"]):
        return "flowers merge DIR… --output NEW   (it was merged: merge its datasets again)"
    words = ["flowers", "split", str(root)]
    parts = parts_of({path.partition("/")[0] for path in columns["path"]})
    words += ["--by-folder"] if parts else []
    if "val" not in parts.values() and manifest.ratios != DEFAULT_RATIOS:
        words += ["--ratios", ",".join(repr(ratio).removesuffix(".0") for ratio in manifest.ratios)]
    words += ["--seed", str(manifest.seed)] if manifest.seed != DEFAULT_SEED else []
    words += ["--stratify"] if manifest.stratified else []
    words += ["--outliers", str(outliers)] if manifest.outliers and outliers is not None else []
    for kind in held_out(manifest) if outliers is not None else []:
        words += ["--hold-out", kind]
    words += [] if output is None else ["--output", output]
    return shlex.join(words)


def stratified_command(root: Path, manifest: Manifest, outliers: Path | None, output: str | None = None) -> str | None:
    """Return the command that splits a dataset anew and gives each class its share; ``None`` where none would.

    The arguments are those of :func:`split_command`.
    """
    again = split_command(root, replace(manifest, stratified=True), outliers, output)
    return None if manifest.stratified or "--stratify" not in again or "--by-folder" in again else again


def held_out(manifest: Manifest) -> list[str]:
    """Return the kinds of outliers that are for testing alone; of others, three are enough to have one in training."""
    sides: dict[str, list[str]] = defaultdict(list)
    for outlier in manifest.outliers:
        sides[outlier.class_name].append(outlier.split)
    return [kind for kind, splits in sides.items() if set(splits) == {"test"} and len(splits) >= len(SPLITS)]
