"""A folder of labelled photographs that a model was not trained on, as data to evaluate it on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.bundle import Bundle, describe
from flowercli.data.class_names import class_name
from flowercli.data.copies import Copies, limits
from flowercli.data.duplicates import read_all
from flowercli.data.manifest import Entry, Manifest, entry_table
from flowercli.data.scan import scan_outliers
from flowercli.data.split import SPLITS
from flowercli.errors import DataError, UsageError
from flowercli.evaluation.bundle_data import BundleData, bundle_data
from flowercli.evaluation.evaluate import can_record
from flowercli.progress import Advance, untold
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from flowercli.data.columns import Table

WHOLE = "test"
Say = Callable[[str], None]


class LabelledFolder(BundleData):
    """Photographs in a folder a class, all of them to be asked about; what the model has no class for is an outlier."""

    is_its_own = False

    def photos(self, split: str) -> Table[Entry]:
        """Return all photographs of classes that the model knows.

        Raises:
            UsageError: a part is asked for.
        """
        if split != WHOLE:
            message = f"{self.root} is no dataset of this model and has no split '{split}': all of it is asked about."
            raise UsageError(message, hint=f"Leave --split out, or give --split {WHOLE}.")
        return self.manifest.photos

    def check_unchanged(self, _split: str, _advance: Advance = untold) -> None:
        """There is nothing that they could differ from."""


def data_to_evaluate(
    bundle: Bundle, data: Path | None, outliers: Path | None, say: Say, advance: Advance = untold
) -> BundleData:
    """Return the photographs of a bundle, or a labelled folder that holds none of them.

    Args:
        bundle: the model.
        data: where its dataset is, if not where it was; or the other folder.
        outliers: where its outliers are, likewise. One that was trained without is asked about all pictures in there;
            one that ships, and does not know where they are, about none.
        say: called with what is left out.
        advance: called after each picture that is read.

    Raises:
        BundleError: no folder is given, and the bundle does not say which photographs it was trained on.
        DataError: there are no such photographs.
    """
    if data is not None and data.is_dir() and not _is_dataset_of(bundle, data):
        return labelled_folder(bundle, data, outliers, say, advance)
    found = bundle_data(bundle, data, outliers)
    if outliers is None and found.outliers_at is None and not can_record(bundle):
        return replace(found, manifest=replace(found.manifest, outliers=entry_table()))
    if outliers is None or found.manifest.outliers:
        return found
    others = _entries(outliers, say, advance)
    everywhere = entry_table(replace(entry, split=split) for split in SPLITS for entry in others)
    return BundleData(found.root, replace(found.manifest, outliers=everywhere), outliers)


def labelled_folder(
    bundle: Bundle, root: Path, outliers: Path | None, say: Say, advance: Advance = untold
) -> LabelledFolder:
    """Take a folder with one subfolder a class, whose names become those that models use: ``roses`` is ``rose``.

    Args:
        bundle: the model to be asked. What it was trained on is left out, by whatever name it is there.
        root: the folder. Photographs of classes that the model does not have count as outliers.
        outliers: further pictures that show none of the classes, if there are any, a subfolder a kind.
        say: called with what is left out.
        advance: called after each picture that is read.

    Raises:
        DataError: no class of the model is in it.
    """
    known = set(bundle.class_names)
    entries = _unseen(bundle, root, _entries(root, say, advance), say)
    photos = [entry for entry in entries if entry.class_name in known]
    others = [entry for entry in entries if entry.class_name not in known]
    if not photos:
        message = f"{root} is no dataset of this model, and no subfolder of it is called as one of its flowers."
        raise DataError(message, hint=f"Which it knows: flowers models {in_shell(bundle.path)}")
    # An absolute path stays what it is below any folder: these are of two.
    outside = [*_absolute(root, others), *(_absolute(outliers, _entries(outliers, say, advance)) if outliers else ())]
    manifest = Manifest(
        seed=0,
        ratios=(),
        stratified=False,
        near_duplicates_checked=False,
        class_names=tuple(bundle.class_names),
        photos=entry_table(photos),
        outliers=entry_table(outside),
    )
    return LabelledFolder(root, manifest, root)


def _unseen(bundle: Bundle, root: Path, entries: list[Entry], say: Say) -> list[Entry]:
    """Leave out the photographs that the model was trained on, or chosen by."""
    manifest = _manifest_of(bundle)
    if manifest is None:
        say(f"It is not known whether {bundle.name} was trained on photographs in {root}: it has no split manifest.")
        return entries
    copies = Copies(manifest)
    for line in limits(copies, manifest, bundle):
        say(line)
    unseen = [entry for entry in entries if (copy := copies.find(entry)) is None or copy.photo.split == WHOLE]
    if left := len(entries) - len(unseen):
        why = "the model was trained on them, or chosen by them, or on near copies"
        say(f"{left} of the {len(entries)} photographs in {root} are left out: {why}.")
    if not unseen:
        message = f"The model was trained on all photographs in {root}: they say nothing of others."
        raise DataError(message, hint="Say where others are: --data DIR")
    return unseen


def _is_dataset_of(bundle: Bundle, folder: Path) -> bool:
    """Whether a photograph that the bundle lists is there, under its name and with its content."""
    manifest = _manifest_of(bundle)
    if manifest is None:
        return False
    there = ((folder / photo.path, photo.sha256) for photo in manifest.photos if (folder / photo.path).is_file())
    return any(describe(path)["sha256"] == sha256 for path, sha256 in there)


def _manifest_of(bundle: Bundle) -> Manifest | None:
    file = bundle.manifest_file
    return None if file is None else Manifest.read(file)


def _entries(root: Path, say: Say, advance: Advance) -> list[Entry]:
    """Return the pictures of a folder; those that cannot be read are told and left out, as ``split`` does."""
    photos = scan_outliers(root).photos
    found = read_all(root, photos, partial(advance, f"Reading {root.name}", len(photos)))
    if found.unreadable:
        path, why = found.unreadable[0]
        say(f"{len(found.unreadable)} pictures in {root} cannot be read and are left out ({path}: {why}).")
    rows = zip(found.photos, found.sha256, found.perceptual_hash, strict=True)
    return [
        Entry(photo.path, class_name(photo.class_name), WHOLE, sha256, perceptual_hash=hashed)
        for photo, sha256, hashed in rows
    ]


def _absolute(root: Path, entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        yield replace(entry, path=str((root / entry.path).absolute()))
