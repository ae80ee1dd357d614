"""Find the photographs of a dataset folder, one class a subfolder, and say what was left out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from flowercli.data.class_names import class_name, composed
from flowercli.data.columns import Repeated, Table, Texts
from flowercli.errors import DataError
from flowercli.inference.patterns import IMAGE_SUFFIXES
from flowercli.shown import in_shell

MIN_CLASSES = 2
NO_TEXT = re.compile("[\ud800-\udfff]")
JSON, PARQUET = ".json", ".parquet"
# The split manifest lies beside the class folders, and is no part of the dataset.
MANIFEST_FILE = "flowers-split.json"
MANIFEST_FILES = {JSON: MANIFEST_FILE, PARQUET: "flowers-split.parquet"}
# What the folders of a dataset are called that is split already, and which part each is.
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True, slots=True)
class Photo:
    """One photograph: its path relative to the dataset, ``/``-separated, and its class name."""

    path: str
    class_name: str


def photo_table() -> Table[Photo]:
    """Return a table for photographs."""
    return Table(Photo, path=Texts(), class_name=Repeated())


@dataclass
class Scan:
    """What a dataset folder holds: photographs in sorted order, and what was left out and why.

    ``parts`` is what the folders of a dataset that is split already are, ``train``, ``val`` or ``test``, by their name.
    """

    root: Path
    photos: Table[Photo] = field(default_factory=photo_table)
    class_names: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    other_files: list[str] = field(default_factory=list)
    outside_links: list[str] = field(default_factory=list)
    dead_links: list[str] = field(default_factory=list)
    closed_folders: list[str] = field(default_factory=list)
    odd_names: list[str] = field(default_factory=list)
    empty_classes: list[str] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)

    def part(self, photo: Photo) -> str:
        """Return in which part of a dataset that is split already a photograph lies."""
        return self.parts[photo.path.partition("/")[0]]

    def class_folder(self, path: str) -> str:
        """Return the name of the class folder that a photograph lies in."""
        return path.split("/")[1 if self.parts else 0]

    def add_left_out(self, other: Scan) -> None:
        """Put down what another scan left out, with its folder."""
        for name in ("hidden", "other_files", "outside_links", "dead_links", "closed_folders", "odd_names"):
            getattr(self, name).extend(f"{other.root}/{path}" for path in getattr(other, name))


class Kind(Enum):
    """What an entry of a folder is to a scan."""

    FOLDER = auto()
    FILE = auto()
    LEFT_OUT = auto()


def scan_dataset(root: Path) -> Scan:
    """List the photographs below ``root`` in the order of torchvision's ``ImageFolder``.

    Class folders are sorted by name, and the files of each by their path. Where ``root`` is split already, into folders
    ``train`` and ``val`` or ``test``, the class folders are those in these.

    Raises:
        DataError: ``root`` is no folder that can be listed, or has fewer than two classes with photographs.
    """
    entries = _entries_of_root(root, "flowers split DIR   (one subfolder a class)")
    scan = Scan(root, parts=parts_of(entry.name for entry in entries if _is(entry, Kind.FOLDER)))
    for entry in entries:
        _scan_top_entry(scan, entry)
    scan.class_names = sorted(set(scan.photos.columns["class_name"]))
    if len(scan.class_names) < MIN_CLASSES:
        raise _too_few_classes(scan)
    return scan


def scan_outliers(root: Path) -> Scan:
    """List the pictures below ``root`` that show none of the classes; each subfolder of it is a kind, named after it.

    Pictures that lie in ``root`` itself are of the kind that is called as it is.

    Raises:
        DataError: ``root`` is no folder that can be listed, or has no pictures.
    """
    scan = Scan(root)
    for entry in _entries_of_root(root, "--outliers DIR   (pictures that show none of the classes)"):
        kind = _kind(scan, entry, entry.name)
        if kind is Kind.FOLDER:
            found = sorted(_pictures_below(scan, entry.path, entry.name))
            scan.photos.extend(Photo(path, composed(entry.name)) for path in found)
        elif kind is Kind.FILE and _is_picture(scan, entry.name):
            scan.photos.append(Photo(entry.name, composed(root.resolve().name)))
    kinds = scan.photos.columns["class_name"]
    scan.photos = scan.photos.take(sorted(range(len(kinds)), key=kinds.value))
    if not scan.photos:
        raise DataError(
            f"There are no pictures in {root}.", hint="--outliers DIR   (one subfolder a kind, or pictures)"
        )
    return scan


def parts_of(folders: Iterable[str]) -> dict[str, str]:
    """Return which part of a split each folder is; nothing if they are no parts of one."""
    parts = {name: PARTS[name.lower()] for name in folders if name.lower() in PARTS}
    return parts if "train" in parts.values() and len(set(parts.values())) > 1 else {}


def _scan_top_entry(scan: Scan, entry: os.DirEntry[str]) -> None:
    kind = _kind(scan, entry, entry.name)
    if kind is Kind.FOLDER and not scan.parts:
        _scan_class(scan, entry, entry.name)
    elif kind is Kind.FOLDER and entry.name in scan.parts:
        for inner in _entries(scan, entry.path, entry.name):
            name = f"{entry.name}/{inner.name}"
            kind = _kind(scan, inner, name)
            if kind is Kind.FOLDER:
                _scan_class(scan, inner, name)
            elif kind is Kind.FILE:
                scan.other_files.append(name)
    elif kind is not Kind.LEFT_OUT and entry.name not in MANIFEST_FILES.values():
        scan.other_files.append(entry.name)


def _scan_class(scan: Scan, folder: os.DirEntry[str], name: str) -> None:
    found = sorted(_pictures_below(scan, folder.path, name), key=lambda path: path.split("/"))
    if not found and name not in scan.closed_folders:
        scan.empty_classes.append(name)
    name_of_class = class_name(folder.name)
    scan.photos.extend(Photo(path, name_of_class) for path in found)


def _pictures_below(scan: Scan, path: str, name: str) -> Iterator[str]:
    folders = [(path, name)]
    while folders:
        path, name = folders.pop()
        for entry in _entries(scan, path, name):
            inner = f"{name}/{entry.name}"
            kind = _kind(scan, entry, inner)
            if kind is Kind.FOLDER and entry.is_symlink():
                scan.other_files.append(inner)
            elif kind is Kind.FOLDER:
                folders.append((entry.path, inner))
            elif kind is Kind.FILE and _is_picture(scan, inner):
                yield inner


def _is_picture(scan: Scan, name: str) -> bool:
    if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
        return True
    scan.other_files.append(name)
    return False


def _kind(scan: Scan, entry: os.DirEntry[str], name: str) -> Kind:
    """Return what an entry is; one to leave out is put down."""
    if entry.name.startswith("."):
        scan.hidden.append(name)
    elif NO_TEXT.search(entry.name):  # Bytes that are no UTF-8: a manifest holds text.
        scan.odd_names.append(name)
    elif entry.is_symlink() and _leads_outside(entry, scan.root):
        scan.outside_links.append(name)
    elif _is(entry, Kind.FOLDER):
        return Kind.FOLDER
    elif _is(entry, Kind.FILE):
        return Kind.FILE
    elif entry.is_symlink():  # To nothing, or in a circle.
        scan.dead_links.append(name)
    else:
        scan.other_files.append(name)
    return Kind.LEFT_OUT


def _is(entry: os.DirEntry[str], kind: Kind) -> bool:
    try:
        return entry.is_dir() if kind is Kind.FOLDER else entry.is_file()
    except OSError:  # What it links to cannot be looked at, or is itself.
        return False


def _entries(scan: Scan, path: str, name: str) -> list[os.DirEntry[str]]:
    """Return the entries of a folder by name; none of one that cannot be listed, such as ``lost+found``."""
    try:
        return _sorted_entries(path)
    except OSError:
        scan.closed_folders.append(name)
        return []


def _entries_of_root(root: Path, hint: str) -> list[os.DirEntry[str]]:
    if not root.is_dir():
        raise DataError(f"{root} is not a folder.", hint=hint)
    try:
        return _sorted_entries(root)
    except OSError as error:
        message = f"{root} cannot be listed: {error.strerror}."
        raise DataError(message, hint="Ask whose it is for read access: ls -ld DIR") from error


def _sorted_entries(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _leads_outside(entry: os.DirEntry[str], root: Path) -> bool:
    return not os.path.realpath(entry.path).startswith(os.path.realpath(root) + os.sep)


def _too_few_classes(scan: Scan) -> DataError:
    if not scan.photos:
        message = f"No class folders with photographs in {scan.root}."
        if scan.closed_folders:
            message += f" Of its folders, {len(scan.closed_folders)} cannot be listed ({scan.closed_folders[0]}, …)."
        below = f"{scan.root}/{next(iter(scan.parts))}" if scan.parts else scan.root
        hint = f"Put each class in a folder of its own: {below}/daisy/1.jpg, {below}/rose/1.jpg, …"
        return DataError(message, hint=hint)
    only = scan.photos[0].class_name
    message = f"{scan.root} has one class only, '{only}': there is nothing to tell apart."
    folder = scan.photos[0].path.split("/")[0]
    nested = {photo.path.split("/")[1] for photo in scan.photos if photo.path.count("/") > 1}
    if len(nested) >= MIN_CLASSES and not scan.parts:
        hint = f"Its subfolders look like classes. Try: flowers split {in_shell(scan.root / folder)}"
        return DataError(message, hint=hint)
    return DataError(message, hint="Add a second class folder next to it.")
