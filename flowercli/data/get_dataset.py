"""Download a dataset: fetch, extract, arrange, check, and only then put it where it belongs and into the index."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from flowercli import installed
from flowercli.atomic import new_folder
from flowercli.data.archive import extract
from flowercli.data.duplicates import read_all
from flowercli.data.scan import Scan, scan_dataset
from flowercli.errors import ArchiveError, DataError, UsageError
from flowercli.installed import Installed
from flowercli.locks import alone
from flowercli.shown import in_shell
from flowercli.transfer.contract import Fetched, FilesListener, Patience, Wanted, shown
from flowercli.transfer.faults import check_space, disk_faults
from flowercli.transfer.fetch import fetch

if TYPE_CHECKING:
    from flowercli.data.datasets import DatasetSource

UNPACKED = ".unpacked"


class DatasetListener(FilesListener, Protocol):
    """Who is told how a download goes on."""

    def extracting(self, size: int) -> None:
        """An archive of so many bytes is extracted."""

    def extracted(self, count: int) -> None:
        """So many more bytes were written."""

    def checking(self, photos: int) -> None:
        """So many photographs are read."""

    def checked(self, photos: int) -> None:
        """So many more were read."""


@dataclass(frozen=True)
class Dataset:
    """A dataset that is there.

    ``counts`` has the photographs of each class, ``unreadable`` the path and the reason of each that cannot be read,
    ``expected`` how many photographs there should be, ``new`` whether it was downloaded now, ``is_split`` whether it
    lies in folders for training, validation and test.
    """

    entry: Installed
    counts: dict[str, int]
    unreadable: list[tuple[str, str]]
    expected: int | None
    new: bool
    is_split: bool


def get_dataset(source: DatasetSource, output: Path | None, listener: DatasetListener, patience: Patience) -> Dataset:
    """Download a dataset, unless it is there already.

    Args:
        source: where from.
        output: the folder to make; in the data directory by default.
        listener: told of the progress.
        patience: retries and timeouts.

    Raises:
        UsageError: the folder is there, and it is something else.
        DownloadError: a file cannot be had.
        ArchiveError: the archive is damaged, unsafe, or no dataset.
    """
    target = output.absolute() if output else installed.folder_of("dataset", source.dataset)
    files = installed.downloads() / source.key
    with disk_faults(), alone(files, listener.waiting):
        there = _already(source, target)
        if there:
            return there
        archive = _fetch_all(source, files, listener, patience)
        dataset = _unpack(source, archive, files, target, listener)
        shutil.rmtree(files, ignore_errors=True)
        return dataset


def _already(source: DatasetSource, target: Path) -> Dataset | None:
    if not target.exists():
        return None
    entry = installed.find_at(target)
    if entry is None or not _is_of(source, entry):
        of = f", from {entry.source}" if entry else ""
        hint = f"--output DIR or --name NAME, or first: flowers download --remove {in_shell(source.dataset)}"
        raise UsageError(
            f"{target} is there already{of}.", hint=hint if entry else "Choose another folder: --output DIR"
        )
    scan = scan_dataset(target)
    return Dataset(entry, _counts(scan), [], source.photos, new=False, is_split=bool(scan.parts))


def _is_of(source: DatasetSource, entry: Installed) -> bool:
    """Whether a dataset in the index is what a source has: the same archive, version or place."""
    archive = source.files[0]
    if archive.sha256 is not None:
        return entry.sha256 == archive.sha256
    if source.revision is not None:
        return entry.revision == source.revision
    return entry.source == shown(archive.url)


def _fetch_all(source: DatasetSource, folder: Path, listener: DatasetListener, patience: Patience) -> Fetched:
    """Fetch every file of a dataset, the archive first, and return the archive."""
    results: list[Fetched] = []
    for file in source.files:
        listener.fetching(file.name)
        is_archive = not results
        wanted = Wanted(file.url, file.size, file.sha256, file.md5, opener=source.opener if is_archive else None)
        # Photographs hardly shrink in an archive: unpacked, they take as much again.
        result = fetch(wanted, folder / file.name, listener, patience=patience, unpacked=1.05 if is_archive else 0)
        listener.fetched(result)
        results.append(result)
    return results[0]


def _unpack(source: DatasetSource, archive: Fetched, files: Path, target: Path, listener: DatasetListener) -> Dataset:
    target.parent.mkdir(parents=True, exist_ok=True)
    check_space(target.parent, archive.size)
    with new_folder(target) as folder:
        unpacked = folder / UNPACKED
        unpacked.mkdir()
        listener.extracting(archive.size)
        extract(archive.path, unpacked, progress=listener.extracted)
        for path in sorted(source.arrange(unpacked, files).iterdir()):
            if path.name != UNPACKED:
                path.rename(folder / path.name)
        shutil.rmtree(unpacked)
        scan, unreadable = _check(folder, listener)
        counts = _counts(scan) - Counter(scan.class_folder(path) for path, _ in unreadable)
        entry = _entry(source, archive, folder, target)
        # Before the folder gets its name: the index lists only what exists, so there is never one without the other.
        installed.record(entry)
    return Dataset(entry, dict(counts), unreadable, source.photos, new=True, is_split=bool(scan.parts))


def _check(folder: Path, listener: DatasetListener) -> tuple[Scan, list[tuple[str, str]]]:
    """Read every photograph; return what is there and which cannot be read."""
    try:
        scan = scan_dataset(folder)
    except DataError as error:
        message = "The archive is no dataset: it has no two class folders with photographs."
        raise ArchiveError(
            message, hint="Each class must be a folder of its own: daisy/1.jpg, rose/1.jpg, …"
        ) from error
    listener.checking(len(scan.photos))
    unreadable = read_all(folder, scan.photos, listener.checked).unreadable
    if len(unreadable) == len(scan.photos):
        message = f"None of the {len(unreadable)} photographs can be read: {unreadable[0][1]}"
        raise ArchiveError(message, hint="Check the address.")
    return scan, unreadable


def _counts(scan: Scan) -> Counter[str]:
    """Count the photographs of each class folder."""
    return Counter(scan.class_folder(photo.path) for photo in scan.photos)


def _entry(source: DatasetSource, archive: Fetched, folder: Path, target: Path) -> Installed:
    where = None if target == installed.folder_of("dataset", source.dataset) else str(target)
    return Installed(
        kind="dataset",
        name=source.dataset,
        source=shown(source.files[0].url),
        revision=source.revision,
        sha256=archive.sha256,
        size=installed.size_of(folder),
        installed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        where=where,
    )
