"""The datasets that can be downloaded by name: a new one is a row."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from flowercli.data import kaggle, oxford
from flowercli.errors import UsageError, needs_extra

if TYPE_CHECKING:
    from flowercli.transfer.contract import Opener

DEFAULT = "tensorflow"
DVC = "dvc"
IN_REPOSITORY = "flowers download dataset dvc --repo PATH_OR_URL --path data/flowers.tar --rev REVISION"
VGG = "https://www.robots.ox.ac.uk/~vgg/data/flowers"
ARCHIVE_SUFFIXES = re.compile(r"(\.(tar|tgz|tbz2?|txz|zip|gz|bz2|xz))+$", re.IGNORECASE)
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a dataset: its name, its URL, and its length and hashes where they are known."""

    name: str
    url: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


def find_class_folders(unpacked: Path, files: Path) -> Path:
    """Return the folder that has the class folders: the first, from the top, that has more than one subfolder."""
    del files
    folder = unpacked
    while len(inner := [entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."]) == 1:
        folder = inner[0]
    return folder


@dataclass(frozen=True)
class DatasetSource:
    """Where a dataset comes from.

    Attributes:
        dataset: the name that it gets in the data directory.
        files: the archive first, then what else ``arrange`` wants.
        arrange: given the folder of the unpacked archive and that of the files, returns the folder that has the class
            folders.
        photos: how many photographs it has, where that is known.
        revision: its version, where it has one.
        opener: opens the archive where its URL is no address, or changes each time.
    """

    dataset: str
    files: tuple[RemoteFile, ...]
    arrange: Callable[[Path, Path], Path] = find_class_folders
    photos: int | None = None
    revision: str | None = None
    opener: Opener | None = None

    @property
    def key(self) -> str:
        """What tells its unfinished files from those of others."""
        return f"{self.dataset}-{hashlib.sha256(self.files[0].url.encode()).hexdigest()[:8]}"


SOURCES = {
    "tensorflow": DatasetSource(
        dataset="flower_photos",
        files=(
            RemoteFile(
                "flower_photos.tgz",
                "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",
                228_813_984,
                "4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
            ),
        ),
        photos=3670,
    ),
    "kaggle": DatasetSource(
        dataset="flowers-dataset",
        # Kaggle publishes no sha256; what arrives is recorded in the index.
        files=(RemoteFile("flowers-dataset.zip", kaggle.PAGE),),
        revision=str(kaggle.VERSION),
        opener=kaggle.open_stream,
    ),
    "oxford17": DatasetSource(
        dataset="oxford17",
        # The group publishes no hashes. Two users of the archive give this sha256 independently; nobody its length.
        files=(
            RemoteFile(
                "17flowers.tgz",
                f"{VGG}/17/17flowers.tgz",
                None,
                "fe38a60f8b4a95e657551247d3e7d799a3fafcdbc595be504b12839967823d70",
            ),
        ),
        arrange=oxford.arrange_17,
        photos=len(oxford.NAMES_17) * oxford.A_CLASS_17,
    ),
    "oxford102": DatasetSource(
        dataset="oxford102",
        # Lengths and hashes are those that TensorFlow Datasets checks.
        files=(
            RemoteFile(
                "102flowers.tgz",
                f"{VGG}/102/102flowers.tgz",
                344_862_509,
                "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
            ),
            RemoteFile(
                oxford.LABELS_FILE,
                f"{VGG}/102/{oxford.LABELS_FILE}",
                502,
                "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
            ),
        ),
        arrange=oxford.arrange_102,
        photos=8189,
    ),
}


@dataclass(frozen=True)
class InRepository:
    """Where an archive is under DVC: the repository's path or URL, the file in it, and a revision of it."""

    repo: str
    path: str
    rev: str | None = None


def find_source(
    text: str,
    *,
    url: str | None = None,
    sha256: str | None = None,
    name: str | None = None,
    place: InRepository | None = None,
) -> DatasetSource:
    """Return the source that is meant.

    Args:
        text: a name in ``SOURCES``, an address, or the path of an archive.
        url: a mirror of a named source: the address or path of its archive, beside which its other files are.
        sha256: what the archive must have; replaces the one that is known.
        name: what to call the dataset.
        place: for the source ``dvc``.

    Raises:
        UsageError: there is no such source, or an argument makes no sense.
        DataError, MissingExtraError: the repository of a ``place`` cannot be read.
    """
    if text == DVC and place is None:
        message = "An archive under DVC is named by its repository and its path there."
        raise UsageError(message, hint=f"{IN_REPOSITORY}   (of your own repository: flowers data pull)")
    if text != DVC and place is not None:
        raise UsageError(f"--repo, --path and --rev are for the source dvc, not for {text}.", hint=IN_REPOSITORY)
    source = _under_dvc(place) if place else SOURCES.get(text) or _any_archive(text)
    if url is not None:
        if place:
            raise UsageError("--url is for the named sources, not for dvc.", hint="--repo PATH_OR_URL")
        first, *others = source.files
        mirror = as_url(url)
        beside = (replace(file, url=urljoin(mirror, file.name)) for file in others)
        source = replace(source, files=(replace(first, url=mirror), *beside), opener=None)
    if sha256 is not None:
        if not SHA256.fullmatch(sha256.lower()):
            raise UsageError(f"--sha256 {sha256}: not 64 hexadecimal digits.", hint="sha256sum ARCHIVE")
        archive = replace(source.files[0], size=None, sha256=sha256.lower())
        source = replace(source, files=(archive, *source.files[1:]), photos=None)
    if name is not None:
        if not SAFE_NAME.fullmatch(name):
            raise UsageError(f"--name {name}: only letters, digits and . _ - make a name.", hint="--name flowers")
        source = replace(source, dataset=name)
    return source


def as_url(text: str) -> str:
    """Return an address as it is, and the path of a file as a ``file`` address.

    Raises:
        UsageError: it is neither.
    """
    if "://" in text:
        _check_url(text)
        return text
    path = Path(text)
    if path.is_file():
        return path.resolve().as_uri()
    near = difflib.get_close_matches(text, SOURCES, 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    hint += f"Sources: {', '.join((*SOURCES, DVC))}; or an address, or the path of an archive."
    raise UsageError(f"{text} is neither a source, an address nor an archive.", hint=hint)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        wrong = "no host" if parts.scheme in {"http", "https"} and not parts.hostname else None
        with_login = parts.username is not None or (parts.port or 0) < 0
    except ValueError as error:
        wrong, with_login = str(error), False
    if wrong:
        raise UsageError(f"{url} is not an address that can be fetched: {wrong}.", hint="https://HOST/ARCHIVE.tgz")
    if with_login:
        message = "A login in an address would be seen in lists of processes and in messages; it is not taken."
        raise UsageError(message, hint="Fetch it with a tool that can log in, then: flowers download dataset PATH")


def _any_archive(text: str) -> DatasetSource:
    url = as_url(text)
    file, dataset = _names(unquote(urlsplit(url).path))
    return DatasetSource(dataset=dataset, files=(RemoteFile(file, url),))


def _under_dvc(place: InRepository) -> DatasetSource:
    with needs_extra("data"):
        from flowercli.data.dvc.source import DvcArchive

        archive = DvcArchive(place.repo, place.path, place.rev)
    name, dataset = _names(place.path)
    file = RemoteFile(name, archive.url, archive.size, md5=archive.md5)
    return DatasetSource(dataset=dataset, files=(file,), revision=archive.md5, opener=archive.open_stream)


def _names(path: str) -> tuple[str, str]:
    """Return the names of an archive and of its dataset as they may be on a disk."""
    file = re.sub(r"[^A-Za-z0-9._-]+", "-", path.rpartition("/")[2])[:100].strip(".-_") or "archive"
    return file, ARCHIVE_SUFFIXES.sub("", file).strip(".-_") or "dataset"
