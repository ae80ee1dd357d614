"""The photographs that a bundle was made from, found again from what it records."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from flowercli.bundle import MANIFEST, Bundle
from flowercli.data.changes import changed, missing_photos, split_command
from flowercli.data.manifest import Entry, Manifest
from flowercli.errors import BundleError, DataError, ImageError, UnreadablePhotoError, UsageError
from flowercli.inference.preprocess import PreprocessSpec, load_pixels
from flowercli.progress import Advance, untold

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from flowercli.data.columns import Table
    from flowercli.data.shards import Photographs


@dataclass(frozen=True)
class BundleData:
    """The dataset folder, the manifest of a bundle, and the folder of the outliers that the manifest lists."""

    root: Path
    manifest: Manifest
    outliers_at: Path | None = None
    # Whether the model was made from it, so that what is measured on it says something of the model in general.
    is_its_own: ClassVar[bool] = True

    @property
    def outliers_root(self) -> Path:
        """The folder of the outliers.

        Raises:
            DataError: it is not there.
        """
        if self.outliers_at is None or not self.outliers_at.is_dir():
            message = f"The outliers of the model are not at {self.outliers_at}."
            raise DataError(message, hint="Say where they are: --outliers DIR")
        return self.outliers_at

    def outliers(self, split: str) -> Table[Entry]:
        """Return the outliers of a split, after checking that all of them are there; there may be none.

        Raises:
            DataError: some are not there.
        """
        outliers = self.manifest.outliers_of(split)
        missing = missing_photos(outliers, self.outliers_root) if outliers else []
        if missing:
            message = f"{len(missing)} of the {len(outliers)} outliers of '{split}' are not in {self.outliers_root}"
            raise DataError(f"{message} ({missing[0]}, …).", hint="Say where they are: --outliers DIR")
        return outliers

    def photos(self, split: str) -> Table[Entry]:
        """Return the photographs of a split after checking that all of them are there.

        Raises:
            DataError: the split is empty, or some of its photographs are not there.
        """
        photos = self.manifest.of_split(split)
        missing = missing_photos(photos, self.root)
        if missing:
            message = f"{len(missing)} of the {len(photos)} photographs of '{split}' are not in {self.root}"
            raise DataError(f"{message} ({missing[0]}, …).", hint="Say where they are: --data DIR")
        return photos

    def check_classes(self, class_names: Sequence[str]) -> None:
        """Hold the classes of a bundle to those of the dataset.

        Raises:
            UsageError: they differ, in names or in order.
        """
        if list(self.manifest.class_names) != list(class_names):
            wanted, found = ", ".join(class_names), ", ".join(self.manifest.class_names)
            message = f"The bundle knows {wanted}; its manifest has {found}."
            raise UsageError(message, hint="Fetch or train it again.")

    def check_unchanged(self, split: str, advance: Advance = untold) -> None:
        """Compare the photographs of a split with the hashes of the manifest; those that look untouched are not read.

        Raises:
            DataError: one of them is not the photograph that the bundle knows.
        """
        outliers = self.outliers(split)
        for root, entries in (
            (self.root, self.photos(split)),
            (self.outliers_root if outliers else self.root, outliers),
        ):
            if edited := changed(root, entries, advance).edited:
                message = f"{len(edited)} of the {len(entries)} photographs of '{split}' in {root} were edited"
                message += f" since the model was trained ({edited[0]}{', …' if len(edited) > 1 else ''})."
                raise DataError(message, hint=self._after_edits())

    def _after_edits(self) -> str:
        again = split_command(self.root, self.manifest, self.outliers_at)
        return (
            "Put them back as they were, or say where an unchanged copy is: --data DIR\n"
            f"Or train anew on what is there now: {again}, then flowers train --data {shlex.quote(str(self.root))}"
        )


def bundle_data(bundle: Bundle, data: Path | None, outliers: Path | None = None) -> BundleData:
    """Find the photographs of a bundle.

    Args:
        bundle: a folder; a lone ``.onnx`` has no manifest.
        data: where the dataset is, if not where it was at training.
        outliers: where the outliers are, likewise.

    Raises:
        BundleError: the bundle has no manifest.
        DataError: the dataset is not there.
    """
    if (file := bundle.manifest_file) is None:
        lacking = "is a lone .onnx" if bundle.is_lone_onnx else f"has no {MANIFEST}"
        message = f"{bundle.path} {lacking}: it does not say which photographs it was trained on."
        raise BundleError(message, hint="Give the bundle folder that flowers train wrote.")
    manifest = Manifest.read(file)
    recorded = bundle.section.get("provenance", {}).get("data_path")
    if data is None and recorded is None:
        message = f"The bundle {bundle.path} does not say where its photographs are."
        raise DataError(message, hint="Say where they are: --data DIR")
    root = data if data is not None else Path(recorded)
    if not root.is_dir():
        raise DataError(f"The dataset is not at {root}.", hint="Say where it is: --data DIR")
    there = bundle.section.get("provenance", {}).get("outliers_path")
    return BundleData(root, manifest, outliers or (None if there is None else Path(there)))


def pixels_of(photos: Photographs, place: int, spec: PreprocessSpec) -> npt.NDArray[np.uint8]:
    """Decode a photograph of a dataset into pixels ``[H, W, 3]``.

    Raises:
        UnreadablePhotoError: it cannot be read.
    """
    try:
        return load_pixels(photos[place], spec)
    except ImageError as error:
        hint = "Put it back as it was, or point --data at a whole copy of the dataset."
        raise UnreadablePhotoError(Path(photos.name(place)), error.message, hint=hint) from error
