"""A folder of labelled photographs that a model was not trained on, as data to evaluate it on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from flowercli.bundle import MANIFEST
from flowercli.data.class_names import class_name
from flowercli.data.manifest import Entry, Manifest
from flowercli.data.scan import scan_outliers
from flowercli.data.split import SPLITS
from flowercli.errors import DataError, UsageError
from flowercli.shown import in_shell
from flowercli.training.bundle_data import BundleData, bundle_data
from flowercli.training.evaluation import can_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from flowercli.bundle import Bundle

WHOLE = "test"


class LabelledFolder(BundleData):
    """Photographs in a folder a class, all of them to be asked about; what the model has no class for is an outlier."""

    is_its_own = False

    def photos(self, split: str) -> list[Entry]:
        """Return all photographs of classes that the model knows.

        Raises:
            UsageError: a part is asked for.
        """
        if split != WHOLE:
            message = f"{self.root} is no dataset of this model and has no split '{split}': all of it is asked about."
            raise UsageError(message, hint=f"Leave --split out, or give --split {WHOLE}.")
        return list(self.manifest.photos)

    def check_unchanged(self, split: str) -> None:
        """There is nothing that they could differ from."""


def labelled_folder(bundle: Bundle, root: Path, outliers: Path | None) -> LabelledFolder:
    """Take a folder with one subfolder a class, whose names become those that models use: ``roses`` is ``rose``.

    Args:
        bundle: the model to be asked.
        root: the folder. Photographs of classes that the model does not have count as outliers.
        outliers: further pictures that show none of the classes, if there are any, a subfolder a kind.

    Raises:
        DataError: no class of the model is in it.
    """
    known = set(bundle.class_names)
    entries = list(_entries(root))
    photos = [entry for entry in entries if entry.class_name in known]
    others = [entry for entry in entries if entry.class_name not in known]
    if not photos:
        message = f"{root} is no dataset of this model, and no subfolder of it is called as one of its flowers."
        raise DataError(message, hint=f"Which it knows: flowers models {in_shell(bundle.path)}")
    # An absolute path stays what it is below any folder: these are of two.
    outside = [*_absolute(root, others), *(_absolute(outliers, _entries(outliers)) if outliers else ())]
    manifest = Manifest(
        seed=0,
        ratios=(),
        stratified=False,
        near_duplicates_checked=False,
        class_names=tuple(bundle.class_names),
        photos=tuple(photos),
        outliers=tuple(outside),
    )
    return LabelledFolder(root, manifest, root)


def data_to_evaluate(bundle: Bundle, data: Path | None, outliers: Path | None) -> BundleData:
    """Return the photographs of a bundle, or a labelled folder that holds none of them.

    Args:
        bundle: the model.
        data: where its dataset is, if not where it was; or the other folder.
        outliers: where its outliers are, likewise. One that was trained without is asked about all pictures in there;
            one that ships, and does not know where they are, about none.

    Raises:
        BundleError: no folder is given, and the bundle does not say which photographs it was trained on.
        DataError: there are no such photographs.
    """
    if data is not None and data.is_dir() and not _is_dataset_of(bundle, data):
        return labelled_folder(bundle, data, outliers)
    found = bundle_data(bundle, data, outliers)
    if outliers is None and found.outliers_at is None and not can_record(bundle):
        return replace(found, manifest=replace(found.manifest, outliers=()))
    if outliers is None or found.manifest.outliers:
        return found
    others = list(_entries(outliers))
    everywhere = tuple(replace(entry, split=split) for split in SPLITS for entry in others)
    return BundleData(found.root, replace(found.manifest, outliers=everywhere), outliers)


def _is_dataset_of(bundle: Bundle, folder: Path) -> bool:
    if bundle.is_lone_onnx or MANIFEST not in bundle.section["files"]:
        return False
    return any((folder / photo.path).exists() for photo in Manifest.read(bundle.file(MANIFEST)).photos)


def _entries(root: Path) -> Iterator[Entry]:
    for photo in scan_outliers(root).photos:
        with (root / photo.path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        yield Entry(photo.path, class_name(photo.class_name), WHOLE, digest)


def _absolute(root: Path, entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        yield replace(entry, path=str((root / entry.path).absolute()))
