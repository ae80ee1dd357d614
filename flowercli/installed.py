"""What the user's data directory holds: datasets, models and backbones, each with where it came from.

The index is one small JSON file. Whoever writes holds a lock, so that several processes can download at once;
what is indexed but gone from the disk is not listed.
"""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from flowercli.atomic import write_text
from flowercli.errors import DataError
from flowercli.home import data_home

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX = "index.json"
LOCK = "index.lock"
DOWNLOADS = "downloads"
# The kinds of things, and the folder that holds them.
FOLDERS = {"dataset": "datasets", "model": "models", "backbone": "backbones"}


@dataclass(frozen=True)
class Installed:
    """One thing that was downloaded.

    ``source`` is the address or repo id, ``revision`` the commit or version where there is one, ``sha256`` that of
    the archive where it was one, ``size`` the bytes on disk, ``installed_at`` the time in ISO 8601, UTC, and ``where``
    the folder if it is not in the data directory.
    """

    kind: str
    name: str
    source: str
    revision: str | None
    sha256: str | None
    size: int
    installed_at: str
    where: str | None = None

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self.where) if self.where else folder_of(self.kind, self.name)


def folder_of(kind: str, name: str) -> Path:
    """Return where a thing of this kind and name lies, or would."""
    return data_home() / FOLDERS[kind] / name


def downloads() -> Path:
    """Return where unfinished downloads lie."""
    return data_home() / DOWNLOADS


def installed(kind: str | None = None) -> list[Installed]:
    """List what is there, by kind and name."""
    entries = [entry for entry in _read() if kind in (None, entry.kind) and entry.path.exists()]
    return sorted(entries, key=lambda entry: (entry.kind, entry.name))


def find(kind: str, name: str) -> Installed | None:
    """Return what is there of this kind and name, or ``None``."""
    return next((entry for entry in installed(kind) if entry.name == name), None)


def find_at(path: Path) -> Installed | None:
    """Return what lies in this folder, or ``None``."""
    return next((entry for entry in installed() if entry.path == path), None)


def dataset_folder(text: Path) -> Path:
    """Return the folder of a dataset that is named by its path, or by its name in the index."""
    if not text.exists() and (entry := find("dataset", str(text))):
        return entry.path
    return text


def record(entry: Installed) -> None:
    """Add a thing to the index, in place of an older one of the same kind and name in the same place."""
    key = (entry.kind, entry.name, entry.where)
    with _locked():
        _write([other for other in _read() if (other.kind, other.name, other.where) != key] + [entry])


def remove(name: str) -> list[Installed]:
    """Delete everything of this name, and return what it was.

    What the user put elsewhere, with ``--output``, is only taken off the index: other things may have come into it.

    Raises:
        DataError: there is nothing of this name.
    """
    with _locked():
        entries = _read()
        gone = [entry for entry in entries if entry.name == name]
        if not gone:
            known = ", ".join(sorted({entry.name for entry in entries if entry.path.exists()})) or "nothing"
            raise DataError(f"Nothing downloaded is called '{name}'.", hint=f"There is: {known}")
        for entry in gone:
            if entry.where is None and entry.path.exists():
                shutil.rmtree(entry.path)
        _write([entry for entry in entries if entry.name != name])
    return gone


def unfinished() -> int:
    """Return the bytes that unfinished downloads take."""
    return sum(path.stat().st_size for path in downloads().rglob("*") if path.is_file())


@contextmanager
def _locked() -> Iterator[None]:
    data_home().mkdir(parents=True, exist_ok=True)
    with FileLock(data_home() / LOCK):
        yield


def _read() -> list[Installed]:
    path = data_home() / INDEX
    try:
        return [Installed(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise DataError(f"The index {path} is damaged: {error}.", hint=f"Delete it: rm {path}") from error


def _write(entries: list[Installed]) -> None:
    write_text(data_home() / INDEX, json.dumps([asdict(entry) for entry in entries], indent=2) + "\n")
