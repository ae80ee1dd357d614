"""Make the split manifest of a dataset folder, and report everything odd that was found on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowercli.data import duplicates
from flowercli.data.manifest import Entry, Manifest
from flowercli.data.scan import scan_dataset
from flowercli.data.split import keep_groups_together, random_split, split_lengths, stratified_split
from flowercli.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from flowercli.data.duplicates import Fingerprint
    from flowercli.data.scan import Photo, Scan


@dataclass(frozen=True)
class SplitResult:
    """A manifest and what was found: groups are lists of paths, the first being the one that the others follow."""

    manifest: Manifest
    scan: Scan
    unreadable: list[tuple[str, str]]
    exact: list[list[str]]
    near: list[list[str]]
    conflicting: list[list[str]]


def make_split(
    root: Path,
    ratios: Sequence[float],
    seed: int,
    *,
    stratify: bool = False,
    sides: Mapping[str, str] | None = None,
    start: Callable[[int], None] = lambda _total: None,
    progress: Callable[[int], None] = lambda _done: None,
) -> SplitResult:
    """Scan, read and split a dataset folder.

    Args:
        root: the dataset, one subfolder a class.
        ratios: shares of train, val and test.
        seed: as for ``torch.Generator().manual_seed``.
        stratify: keep the classes' proportions in every split.
        sides: the split of each photograph by its path, where that is known already; nothing is drawn then.
        start: called with the number of photographs before they are read.
        progress: called with 1 after each.

    Raises:
        DataError: the folder cannot be used as a dataset.
        UsageError: the ratios make no sense.
    """
    split_lengths(0, ratios)  # A wrong option is told before minutes of reading.
    scan = scan_dataset(root)
    start(len(scan.photos))
    fingerprints = duplicates.fingerprint_all(root, scan.photos, progress)
    unreadable = [(p.path, f.error) for p, f in zip(scan.photos, fingerprints, strict=True) if f.error]
    good = [pair for pair in zip(scan.photos, fingerprints, strict=True) if not pair[1].error]
    photos, prints = [photo for photo, _ in good], [fingerprint for _, fingerprint in good]
    _check_classes(scan, photos)
    exact, near = duplicates.exact_groups(prints), duplicates.near_groups(prints)
    together = duplicates.connected(len(photos), ((g[0], other) for g in (*exact, *near) for other in g[1:]))
    if sides is None:
        drawn = _assign(photos, ratios, seed, stratify=stratify)
    else:
        drawn = [sides[photo.path] for photo in photos]
    manifest = Manifest(
        seed=seed,
        ratios=tuple(ratios),
        stratified=stratify,
        near_duplicates_checked=duplicates.can_hash_perceptually(),
        class_names=tuple(scan.class_names),
        photos=_entries(photos, prints, keep_groups_together(drawn, together)),
    )
    return SplitResult(
        manifest, scan, unreadable, _paths(exact, photos), _only_near(near, exact, photos), _conflicts(together, photos)
    )


def _assign(photos: Sequence[Photo], ratios: Sequence[float], seed: int, *, stratify: bool) -> list[str]:
    if stratify:
        return stratified_split([photo.class_name for photo in photos], ratios, seed)
    return random_split(len(photos), ratios, seed)


def _entries(photos: Sequence[Photo], prints: Sequence[Fingerprint], assigned: Sequence[str]) -> tuple[Entry, ...]:
    rows = zip(photos, prints, assigned, strict=True)
    return tuple(Entry(photo.path, photo.class_name, split, fp.sha256) for photo, fp, split in rows)


def _check_classes(scan: Scan, photos: Sequence[Photo]) -> None:
    lost = set(scan.class_names) - {photo.class_name for photo in photos}
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


def _conflicts(groups: Sequence[Sequence[int]], photos: Sequence[Photo]) -> list[list[str]]:
    """Return the groups of copies that stand in more than one class: at least one label is wrong."""
    return _paths([group for group in groups if len({photos[index].class_name for index in group}) > 1], photos)
