"""Find the photographs of a dataset folder, one class a subfolder, and say what was left out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowercli.data.class_names import class_name
from flowercli.errors import DataError
from flowercli.inference.sources import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIN_CLASSES = 2
# The split manifest lies beside the class folders, and is no part of the dataset.
MANIFEST_FILE = "flowers-split.json"


@dataclass(frozen=True)
class Photo:
    """One photograph: its path relative to the dataset, ``/``-separated, and its class name."""

    path: str
    class_name: str


@dataclass
class Scan:
    """What a dataset folder holds: photographs in sorted order, and what was left out and why."""

    root: Path
    photos: list[Photo] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    other_files: list[str] = field(default_factory=list)
    outside_links: list[str] = field(default_factory=list)
    empty_classes: list[str] = field(default_factory=list)


def scan_dataset(root: Path) -> Scan:
    """List the photographs below ``root`` in the order of torchvision's ``ImageFolder``.

    Class folders are sorted by name, and the files of each by their path.

    Raises:
        DataError: ``root`` is no folder, or has fewer than two classes with photographs.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder.", hint="flowers split DIR   (one subfolder a class)")
    scan = Scan(root)
    for entry in _sorted_entries(root):
        _scan_top_entry(scan, entry)
    scan.class_names = sorted({photo.class_name for photo in scan.photos})
    if len(scan.class_names) < MIN_CLASSES:
        raise _too_few_classes(scan)
    return scan


def scan_outliers(root: Path) -> Scan:
    """List the pictures below ``root`` that show none of the classes; each subfolder of it is a kind, named after it.

    Pictures that lie in ``root`` itself are of the kind that is called as it is.

    Raises:
        DataError: ``root`` is no folder, or has no pictures.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder.", hint="--outliers DIR   (pictures that show none of the classes)")
    scan = Scan(root)
    kind = root.resolve().name
    for entry in _sorted_entries(root):
        if not entry.name.startswith(".") and entry.is_dir() and not _leads_outside(entry, root):
            scan.photos += [Photo(path, entry.name) for path in sorted(_files_below(scan, entry))]
        elif entry.is_file() and _is_picture(entry.name):
            scan.photos.append(Photo(entry.name, kind))
    scan.photos.sort(key=lambda photo: photo.class_name)
    if not scan.photos:
        raise DataError(
            f"There are no pictures in {root}.", hint="--outliers DIR   (one subfolder a kind, or pictures)"
        )
    return scan


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _scan_top_entry(scan: Scan, entry: os.DirEntry[str]) -> None:
    if entry.name.startswith("."):
        scan.hidden.append(entry.name)
    elif _leads_outside(entry, scan.root):
        scan.outside_links.append(entry.name)
    elif entry.is_dir():
        _scan_class(scan, entry)
    elif entry.name != MANIFEST_FILE:
        scan.other_files.append(entry.name)


def _scan_class(scan: Scan, folder: os.DirEntry[str]) -> None:
    found = sorted(_files_below(scan, folder), key=lambda path: path.split("/"))
    if not found:
        scan.empty_classes.append(folder.name)
    scan.photos += [Photo(path, class_name(folder.name)) for path in found]


def _files_below(scan: Scan, folder: os.DirEntry[str], prefix: str = "") -> Iterator[str]:
    prefix = f"{prefix}{folder.name}/"
    for entry in _sorted_entries(folder.path):
        name = prefix + entry.name
        if entry.name.startswith("."):
            scan.hidden.append(name)
        elif _leads_outside(entry, scan.root):
            scan.outside_links.append(name)
        elif entry.is_dir(follow_symlinks=False):
            yield from _files_below(scan, entry, prefix)
        elif entry.is_file() and _is_picture(entry.name):
            yield name
        else:
            scan.other_files.append(name)


def _sorted_entries(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _leads_outside(entry: os.DirEntry[str], root: Path) -> bool:
    if not entry.is_symlink():
        return False
    return not os.path.realpath(entry.path).startswith(os.path.realpath(root) + os.sep)


def _too_few_classes(scan: Scan) -> DataError:
    if not scan.photos:
        message = f"No class folders with photographs in {scan.root}."
        hint = f"Put each class in a folder of its own: {scan.root}/daisy/1.jpg, {scan.root}/rose/1.jpg, …"
        return DataError(message, hint=hint)
    only = scan.photos[0].path.split("/")[0]
    message = f"{scan.root} has one class only, '{only}': there is nothing to tell apart."
    nested = {photo.path.split("/")[1] for photo in scan.photos if photo.path.count("/") > 1}
    if len(nested) >= MIN_CLASSES:
        return DataError(message, hint=f"Its subfolders look like classes. Try: flowers split {scan.root / only}")
    return DataError(message, hint="Add a second class folder next to it.")
