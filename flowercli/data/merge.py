"""Merge datasets into one folder, class by class, with every photograph on the side of the split where it was.

A model trained on one of the datasets has then seen no test photograph of the merged one.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from flowercli.atomic import new_folder
from flowercli.data.class_names import class_name, composed
from flowercli.data.inside import MAX_NAME_BYTES
from flowercli.data.make_split import Outliers, SplitResult, make_split
from flowercli.data.manifest import Entry, Manifest, entry_table
from flowercli.data.places import manifest_path
from flowercli.data.scan import MIN_CLASSES
from flowercli.data.split import shares
from flowercli.errors import DataError, UsageError
from flowercli.progress import Advance, untold


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
    # What begins with a dot is hidden from a scan, the merged dataset's too.
    names = [root.resolve().name.lstrip(".") or "dataset" for root, _ in datasets]
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
    advance: Advance = untold,
) -> MergeResult:
    """Write the merged dataset: hard links where the file system has them, copies elsewhere.

    Classes are matched by class name. A photograph that an earlier dataset has in the same class is left out.

    Args:
        sources: the datasets, in order of precedence.
        output: the new folder; it appears when it is whole.
        class_names: the classes to keep; all where it is empty.
        outliers: pictures of no class that the split of the merged dataset also lists; they stay where they are.
        advance: called after each photograph that was linked or copied, and as by :func:`make_split`.

    Raises:
        UsageError: ``output`` exists, no dataset has one of ``class_names``, or there is one class only.
        DataError: a photograph of a manifest is missing, or the result cannot be used as a dataset.
    """
    if output.exists():
        raise UsageError(f"{output} exists already.", hint="Choose another folder: --output DIR")
    kept = _check_class_names(sources, class_names)
    repeated: list[str] = []
    sides: dict[str, str] = {}
    origins: dict[str, str] = {}
    hashes: dict[str, str] = {}
    taken: set[str] = set()
    with new_folder(output) as folder:
        seen: set[tuple[str, str]] = set()
        for source in sources:
            for photo in source.manifest.photos:
                advance(f"Linking {source.name}", len(source.manifest.photos))
                name = class_name(photo.class_name)
                if name not in kept:
                    continue
                if (name, photo.sha256) in seen:
                    repeated.append(f"{source.name}/{photo.path}")
                    continue
                seen.add((name, photo.sha256))
                path = _free_name(f"{name}/{source.name}", photo, taken)
                _link(source.root / photo.path, folder / path)
                sides[path], origins[path], hashes[path] = photo.split, source.name, photo.sha256
        first = sources[0].manifest
        how: dict[str, Any] = {"sides": sides, "outliers": outliers, "advance": advance}
        result = make_split(folder, shares(sides.values()), first.seed, **how)
        _check_contents(result.manifest, hashes)
        photos = entry_table(replace(photo, source=origins[photo.path]) for photo in result.manifest.photos)
        manifest = replace(result.manifest, photos=photos)
        result = replace(result, manifest=manifest, scan=replace(result.scan, root=output))
        result.manifest.write(manifest_path(folder, len(photos)))
    return MergeResult(result, output, repeated)


def _check_contents(merged: Manifest, hashes: dict[str, str]) -> None:
    """Refuse files that are not what the manifests say: edited since, or reached by a link that somebody put there."""
    found = {photo.path: photo.sha256 for photo in merged.photos}
    others = [path for path, sha256 in hashes.items() if found.get(path) != sha256]
    if others:
        message = f"{len(others)} photographs are not what the split manifest says ({others[0]}, …)."
        raise DataError(message, hint="Split what is there now: flowers split DIR")


def _check_class_names(sources: Sequence[Source], class_names: Collection[str]) -> set[str]:
    """Return the classes that the merged dataset will have.

    Raises:
        UsageError: no dataset has one that is asked for, or there is one only.
    """
    known = {class_name(photo.class_name) for source in sources for photo in source.manifest.photos}
    wanted = {composed(name) for name in class_names}
    hint = f"There are: {', '.join(sorted(known))}"
    if unknown := sorted(wanted - known):
        raise UsageError(f"No dataset has the class {', '.join(unknown)}.", hint=hint)
    kept = known & wanted if wanted else known
    if len(kept) < MIN_CLASSES:
        message = f"The merged dataset would have one class only, '{', '.join(kept)}': there is nothing to tell apart."
        raise UsageError(message, hint=f"{hint}. Keep two: --class NAME --class NAME; or name another dataset.")
    return kept


def _free_name(start: str, photo: Entry, taken: set[str]) -> str:
    """Return ``CLASS/SOURCE-FILE``, and take it; subfolders of the class become part of the file's name.

    Names that differ in case only, or in how a system writes ``é``, are one name on some systems.
    """
    inside = PurePosixPath(photo.path.partition("/")[2].replace("/", "-") or photo.path)
    for number in itertools.count(1):
        suffix = inside.suffix if number == 1 else f"-{number}{inside.suffix}"
        path = shortened(f"{start}-{inside.stem}", suffix)
        if (folded := composed(path).casefold()) not in taken:
            break
    taken.add(folded)
    return path


def shortened(path: str, suffix: str) -> str:
    """Return a path with a suffix whose last name no file system finds too long; a hash stands for what is cut off."""
    folder, _, name = path.rpartition("/")
    if len(os.fsencode(name + suffix)) > MAX_NAME_BYTES:
        digest = "-" + hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
        room = MAX_NAME_BYTES - len(os.fsencode(digest + suffix))
        name = os.fsencode(name)[:room].decode(errors="ignore") + digest
    return f"{folder}/{name}{suffix}"


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
