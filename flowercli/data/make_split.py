"""Make the split manifest of a dataset folder, and report everything odd that was found on the way."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli.data import duplicates
from flowercli.data.class_names import composed
from flowercli.data.columns import Column, Repeated, Table
from flowercli.data.manifest import Entry, Manifest
from flowercli.data.places import forget_other_form, manifest_path
from flowercli.data.scan import Photo, Scan, scan_dataset, scan_outliers
from flowercli.data.shards import is_packed
from flowercli.data.split import (
    assign,
    check_parts,
    keep_groups_together,
    random_split,
    shares,
    sides_by_folder,
    split_lengths,
)
from flowercli.errors import DataError, UsageError
from flowercli.progress import Advance, untold
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from flowercli.data.duplicates import Readable

OUTLIER_RATIOS = (0.84, 0.08, 0.08)


@dataclass(frozen=True)
class SplitResult:
    """A manifest and what was found: groups are lists of paths, the first being the one that the others follow.

    ``across`` are groups of copies that stand on several sides, where the sides were given.
    """

    manifest: Manifest
    scan: Scan
    unreadable: list[tuple[str, str]]
    exact: list[list[str]]
    near: list[list[str]]
    conflicting: list[list[str]]
    across: list[list[str]]


@dataclass(frozen=True)
class Outliers:
    """A folder of pictures that show none of the classes, and the kinds of them that are kept for testing alone."""

    root: Path
    held_out: Collection[str] = ()

    def assign(self, photos: Sequence[Photo], seed: int) -> list[str]:
        """Return the split of each picture, each kind drawn on its own, whatever the classes and their ratios are.

        Raises:
            UsageError: a kind to hold out is not there.
        """
        kinds = {photo.class_name for photo in photos}
        held_out = {composed(kind) for kind in self.held_out}
        if unknown := sorted(held_out - kinds):
            message = f"There is no kind {', '.join(unknown)} of outliers in {self.root}."
            raise UsageError(message, hint=f"There are: {', '.join(sorted(kinds))}")
        drawn: list[str] = []
        for kind, members in itertools.groupby(photo.class_name for photo in photos):
            count = len(list(members))
            drawn += ["test"] * count if kind in held_out else random_split(count, OUTLIER_RATIOS, seed)
        return drawn


def make_split(
    root: Path,
    ratios: Sequence[float],
    seed: int,
    *,
    stratify: bool = False,
    sides: Mapping[str, str] | None = None,
    by_folder: bool = False,
    outliers: Outliers | None = None,
    advance: Advance = untold,
) -> SplitResult:
    """Scan, read and split a dataset folder.

    Args:
        root: the dataset, one subfolder a class.
        ratios: shares of train, val and test.
        seed: as for ``torch.Generator().manual_seed``.
        stratify: keep the classes' proportions in every split.
        sides: the split of each photograph by its path, where that is known already; nothing is drawn then, and of
            copies the first in it decides.
        by_folder: the dataset is split already, into folders ``train``, ``val`` and ``test``, and stays so; a ``val``
            that is not there is drawn from ``train``.
        outliers: pictures of no class; they are drawn kind by kind.
        advance: called after each photograph, and each round of looking for copies.

    Raises:
        DataError: the folder cannot be used as a dataset, or is split already and ``by_folder`` does not say so.
        UsageError: the ratios make no sense, or there is nothing that ``by_folder`` could go by.
    """
    split_lengths(0, ratios)  # A wrong option is told before minutes of reading.
    if is_packed(root):
        raise DataError(f"{root} holds shards, which are split already.", hint=f"flowers train --data {in_shell(root)}")
    scan = scan_dataset(root)
    check_parts(scan, by_folder=by_folder)
    others = Scan(root) if outliers is None else scan_outliers(outliers.root)
    read = partial(advance, "Reading photographs", len(scan.photos) + len(others.photos))
    # A folder that is being merged gets another name.
    found = duplicates.read_all(root, scan.photos, read, keep=sides is None)
    found_others = duplicates.read_all(others.root, others.photos, read)
    scan.add_left_out(others)
    how: dict[str, Any] = {"stratify": stratify, "sides": sides, "by_folder": by_folder, "outliers": outliers}
    return split_what_was_read(scan, found, found_others, ratios, seed, **how, advance=advance)


def split_what_was_read(
    scan: Scan,
    found: Readable,
    found_others: Readable,
    ratios: Sequence[float],
    seed: int,
    *,
    stratify: bool = False,
    sides: Mapping[str, str] | None = None,
    by_folder: bool = False,
    outliers: Outliers | None = None,
    advance: Advance = untold,
) -> SplitResult:
    """Split photographs and outliers by what reading them told: the second half of :func:`make_split`."""
    photos, sha256 = found.photos + found_others.photos, found.sha256 + found_others.sha256
    _check_classes(scan, found.photos)
    exact = duplicates.exact_groups(sha256)
    perceptual_hash = found.perceptual_hash + found_others.perceptual_hash
    near = duplicates.near_groups(perceptual_hash, advance)
    together = duplicates.connected(len(photos), ((g[0], other) for g in (*exact, *near) for other in g[1:]))
    labels = found.photos.columns["class_name"]
    if by_folder:
        parts = [scan.part(photo) for photo in found.photos]
        drawn = sides_by_folder(scan, labels, parts, together, ratios, seed, stratify=stratify)
        # The photographs stay where they lie; outliers follow what they are copies of.
        ratios, moving = shares(drawn), [[g[0], *(i for i in g[1:] if i >= len(drawn))] for g in together]
    elif sides is None:
        drawn, moving = assign(labels, ratios, seed, stratify=stratify), together
    else:
        drawn = [sides[photo.path] for photo in found.photos]
        rank = {path: position for position, path in enumerate(sides)}
        # What was given first decides for its copies: a dataset keeps its split when others are merged into it.
        moving = together = [sorted(g, key=lambda index: rank.get(photos[index].path, len(rank))) for g in together]
    if outliers is not None:
        drawn += outliers.assign(found_others.photos, seed)
    drawn = keep_groups_together(drawn, moving)
    entries = _entries(photos, sha256, drawn, perceptual_hash)
    manifest = Manifest(
        seed=seed,
        ratios=tuple(ratios),
        stratified=stratify,
        near_duplicates_checked=True,
        class_names=tuple(scan.class_names),
        photos=entries[: len(found.photos)],
        outliers=entries[len(found.photos) :],
        unreadable=tuple(path for path, _ in found.unreadable),
    )
    return SplitResult(
        manifest,
        scan,
        found.unreadable + found_others.unreadable,
        _paths(exact, photos),
        _only_near(near, exact, photos),
        # Copies in more than one class: at least one label is wrong.
        _paths([group for group in together if len({photos[index].class_name for index in group}) > 1], photos),
        _paths([group for group in together if len({drawn[index] for index in group}) > 1], photos),
    )


def write_split(
    root: Path, ratios: Sequence[float], seed: int, *, output: Path | None = None, **how: Any
) -> tuple[SplitResult, Path]:
    """Split a dataset as :func:`make_split` does, and write the manifest to ``output`` or where later commands look."""
    result = make_split(root, ratios, seed, **how)
    path = output or manifest_path(root, len(result.manifest.photos))
    result.manifest.write(path)
    if output is None:
        forget_other_form(path)
    return result, path


def _entries(
    photos: Table[Photo], sha256: Column[str], assigned: Sequence[str], perceptual_hash: Column[int | None]
) -> Table[Entry]:
    sources = Repeated()
    sources.extend_repeated([""], np.zeros(len(assigned), dtype=np.uint8))
    others: dict[str, Column[Any]] = {"sha256": sha256, "source": sources, "perceptual_hash": perceptual_hash}
    return Table(Entry, **photos.columns, split=Repeated(assigned), **others)


def _check_classes(scan: Scan, photos: Table[Photo]) -> None:
    lost = set(scan.class_names) - set(photos.columns["class_name"])
    if lost:
        raise DataError(f"No photograph of {', '.join(sorted(lost))} can be read.", hint=f"Look into {scan.root}.")


def _paths(groups: Sequence[Sequence[int]], photos: Sequence[Photo]) -> list[list[str]]:
    return [[photos[index].path for index in group] for group in groups]


def _only_near(
    near: Sequence[Sequence[int]], exact: Sequence[Sequence[int]], photos: Sequence[Photo]
) -> list[list[str]]:
    """Leave out the groups that are near copies only because they are exact ones."""
    known = {tuple(group) for group in exact}
    return _paths([group for group in near if tuple(group) not in known], photos)
