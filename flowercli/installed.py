"""What the user's data directory holds: datasets, models and backbones, each with where it came from.

The index is one small JSON file. Whoever writes holds a lock, so that several processes can download at once;
what is indexed but gone from the disk is not listed.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from flowercli import json_text
from flowercli.atomic import PARTIAL_PREFIX, write_text
from flowercli.errors import DataError
from flowercli.home import NoHomeError, data_home
from flowercli.installation import upgrade
from flowercli.locks import alone, is_held
from flowercli.plain_file import read_plain_file

INDEX = "index.json"
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


def in_progress(kind: str, name: str) -> Path:
    """Return what is locked while a thing of the Hub is put together.

    That happens in a folder of this name with ``.partial-`` before it, and ``@`` and the commit behind it.
    """
    return data_home() / FOLDERS[kind] / name.replace("/", "--")


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
    with alone(data_home() / INDEX):
        _write([other for other in _read() if (other.kind, other.name, other.where) != key] + [entry])


def remove(name: str) -> tuple[list[Installed], int]:
    """Delete everything of this name, and return what it was and the bytes of unfinished downloads of it.

    What the user put elsewhere, with ``--output``, is only taken off the index: other things may have come into it.

    Raises:
        DataError: there is nothing of this name, or another process is fetching it.
    """
    started = list(_unfinished_of(name))
    with alone(data_home() / INDEX):
        entries = _read()
        gone = [entry for entry in entries if entry.name == name]
        if not gone and not started:
            known = ", ".join(sorted({entry.name for entry in entries if entry.path.exists()}))
            hint = f"There is: {known}" if known else "Nothing was downloaded yet."
            raise DataError(f"Nothing downloaded is called '{name}'.", hint=hint)
        if any(is_held(locked) for _, locked in started):
            message = f"Another process is downloading {name} now; nothing was removed."
            raise DataError(message, hint="Wait until it is done, or stop it with Ctrl-C there.")
        freed = sum(size_of(folder) for folder, _ in started)
        folders = [entry.path for entry in gone if entry.where is None] + [folder for folder, _ in started]
        aside = [_put_aside(folder) for folder in folders if folder.exists()]
        _write([entry for entry in entries if entry.name != name])
        for folder in aside:
            shutil.rmtree(folder)
    return gone, freed


def unfinished() -> int:
    """Return the bytes that unfinished downloads take."""
    hub = (path for kind in ("model", "backbone") for path in folder_of(kind, "").glob(f"{PARTIAL_PREFIX}*@*"))
    return sum(map(size_of, (downloads(), *hub)))


def _unfinished_of(name: str) -> Iterator[tuple[Path, Path]]:
    """Yield the folder of each unfinished download of this name, and what its process holds the lock of."""
    for folder in downloads().glob("*"):
        if re.fullmatch(re.escape(name) + "-[0-9a-f]{8}", folder.name):
            yield folder, folder
    for kind in ("model", "backbone"):
        locked = in_progress(kind, name)
        for folder in locked.parent.glob(f"{PARTIAL_PREFIX}*@*"):
            if folder.name.startswith(f"{PARTIAL_PREFIX}{locked.name}@"):
                yield folder, locked


def size_of(folder: Path) -> int:
    """Return the bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _put_aside(folder: Path) -> Path:
    """Rename a folder, so that nobody meets half of it while it is deleted.

    Raises:
        DataError: a program has it open, on a system that then keeps it.
    """
    aside = folder.with_name(f"{PARTIAL_PREFIX}removed-{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        return folder.rename(aside)
    except PermissionError as error:
        raise DataError(
            f"{folder} is in use, or may not be changed.", hint="End what uses it, and try again."
        ) from error


def _read() -> list[Installed]:
    try:
        path = data_home() / INDEX
        entries = _objects(json_text.loads(read_plain_file(path)))
    except (FileNotFoundError, NotADirectoryError, NoHomeError):
        return []
    except (ValueError, IsADirectoryError) as error:
        kept = shlex.join(["mv", str(path), f"{path}.damaged"])
        hint = f"Put it aside: {kept}   (what it lists stays on the disk)"
        raise DataError(f"The index {path} is damaged: {error}.", hint=hint) from error
    try:
        return [_entry(entry) for entry in entries]
    except (TypeError, ValueError) as error:
        raise DataError(f"The index {path} is of a newer version of flowers: {error}.", hint=upgrade()) from error


def _objects(entries: Any) -> list[dict[str, Any]]:
    """Return the entries of an index, if a version can have written them: one that lacks a field has another for it.

    Raises:
        ValueError: no version has.
    """
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("it is no list of objects")
    known = {field.name for field in fields(Installed)}
    needed = {field.name for field in fields(Installed) if field.default is MISSING}
    for entry in entries:
        if entry.keys() <= known and (lacking := sorted(needed - entry.keys())):
            raise ValueError(f"an entry lacks {', '.join(lacking)}")
    return entries


def _entry(recorded: dict[str, Any]) -> Installed:
    """Return an entry as this version writes it: what it does not know, it would lose when it writes the index."""
    entry = Installed(**recorded)
    if entry.kind not in FOLDERS:
        raise ValueError(f"it has a thing of the kind {entry.kind!a}")
    texts = (entry.name, entry.source, entry.installed_at)
    if not all(isinstance(text, str) for text in texts) or not isinstance(entry.size, int):
        raise TypeError("an entry has a field of another type")
    return entry


def _write(entries: list[Installed]) -> None:
    write_text(data_home() / INDEX, json.dumps([asdict(entry) for entry in entries], indent=2) + "\n")
