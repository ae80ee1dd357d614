"""Merge datasets into one folder, class by class, with every photograph on the side of the split where it was.

A model trained on one of the datasets has then seen no test photograph of the merged one.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from flowercli.atomic import new_folder
from flowercli.data.make_split import SplitResult, make_split
from flowercli.data.manifest import manifest_path
from flowercli.data.split import SPLITS
from flowercli.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from flowercli.data.make_split import Outliers
    from flowercli.data.manifest import Entry, Manifest


@dataclass(frozen=True)
class Source:
    """A dataset to merge: its folder, its split, and the name that its files get in the merged folder."""

    root: Path
    manifest: Manifest
    name: str


@dataclass(frozen=True)
class MergeResult:
    """The split of the merged folder, where it is, and the photographs that were in it already."""

    split: SplitResult
    root: Path
    repeated: list[str]


def name_sources(datasets: Sequence[tuple[Path, Manifest]]) -> list[Source]:
    """Name each dataset after its folder, numbered where two folders have the same name."""
    names = [root.resolve().name for root, _ in datasets]
    seen: Counter[str] = Counter()
    sources = []
    for (root, manifest), name in zip(datasets, names, strict=True):
        seen[name] += 1
        sources.append(Source(root, manifest, f"{name}{seen[name]}" if names.count(name) > 1 else name))
    return sources


def merge(
    sources: Sequence[Source],
    output: Path,
    class_names: Collection[str],
    *,
    outliers: Outliers | None = None,
    start: Callable[[int], None] = lambda _total: None,
    progress: Callable[[int], None] = lambda _done: None,
) -> MergeResult:
    """Write the merged dataset: hard links where the file system has them, copies elsewhere.

    Classes are matched by class name. A photograph that an earlier dataset has in the same class is left out.

    Args:
        sources: the datasets, in order of precedence.
        output: the new folder; it appears when it is whole.
        class_names: the classes to keep; all where it is empty.
        outliers: pictures of no class that the split of the merged dataset also lists; they stay where they are.
        start: called with the number of photographs before they are read.
        progress: called with 1 after each.

    Raises:
        UsageError: ``output`` exists, or no dataset has one of ``class_names``.
        DataError: a photograph of a manifest is missing, or the result cannot be used as a dataset.
    """
    if output.exists():
        raise UsageError(f"{output} exists already.", hint="Choose another folder: --output DIR")
    _check_class_names(sources, class_names)
    repeated: list[str] = []
    sides: dict[str, str] = {}
    origins: dict[str, str] = {}
    hashes: dict[str, str] = {}
    with new_folder(output) as folder:
        seen: set[tuple[str, str]] = set()
        for source in sources:
            for photo in source.manifest.photos:
                if class_names and photo.class_name not in class_names:
                    continue
                if (photo.class_name, photo.sha256) in seen:
                    repeated.append(f"{source.name}/{photo.path}")
                    continue
                seen.add((photo.class_name, photo.sha256))
                path = _free_name(source.name, photo, sides)
                _link(source.root / photo.path, folder / path)
                sides[path], origins[path], hashes[path] = photo.split, source.name, photo.sha256
        first = sources[0].manifest
        how: dict[str, Any] = {"sides": sides, "outliers": outliers, "start": start, "progress": progress}
        result = make_split(folder, _shares(sides), first.seed, **how)
        _check_contents(result.manifest, hashes)
        photos = tuple(replace(photo, source=origins[photo.path]) for photo in result.manifest.photos)
        manifest = replace(result.manifest, photos=photos)
        result = replace(result, manifest=manifest, scan=replace(result.scan, root=output))
        result.manifest.write(manifest_path(folder))
    return MergeResult(result, output, repeated)


def _check_contents(merged: Manifest, hashes: dict[str, str]) -> None:
    """Refuse files that are not what the manifests say: edited since, or reached by a link that somebody put there."""
    found = {photo.path: photo.sha256 for photo in merged.photos}
    others = [path for path, sha256 in hashes.items() if found.get(path) != sha256]
    if others:
        message = f"{len(others)} photographs are not what the split manifest says ({others[0]}, …)."
        raise DataError(message, hint="Split what is there now: flowers split DIR")


def _check_class_names(sources: Sequence[Source], class_names: Collection[str]) -> None:
    known = sorted({name for source in sources for name in source.manifest.class_names})
    unknown = sorted(set(class_names) - set(known))
    if unknown:
        message = f"No dataset has the class {', '.join(unknown)}."
        raise UsageError(message, hint=f"There are: {', '.join(known)}")


def _free_name(source: str, photo: Entry, taken: Collection[str]) -> str:
    """Return ``CLASS/SOURCE-FILE``; subfolders of the class become part of the file's name."""
    inside = PurePosixPath(photo.path.partition("/")[2].replace("/", "-"))
    path = f"{photo.class_name}/{source}-{inside}"
    number = 2
    while path in taken:
        path = f"{photo.class_name}/{source}-{inside.stem}-{number}{inside.suffix}"
        number += 1
    return path


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    real = source.resolve()  # A hard link to a symbolic link would lead nowhere from its new place.
    if not real.is_file():
        message = f"{source} is in the split manifest, but there is no such file."
        raise DataError(message, hint="Split what is there now: flowers split DIR")
    try:
        os.link(real, target)
    except OSError:
        shutil.copy2(real, target)


def _shares(sides: dict[str, str]) -> list[float]:
    counts = Counter(sides.values())
    return [counts[split] / max(len(sides), 1) for split in SPLITS]
