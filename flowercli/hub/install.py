"""The place of what comes from the Hub in the user's data directory: whole or not at all, by one process at a time."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from flowercli.atomic import PARTIAL_PREFIX, replace_folder
from flowercli.bundle import describe
from flowercli.errors import HubError
from flowercli.home import data_home
from flowercli.hub.files import fetch
from flowercli.installed import FOLDERS, Installed, folder_of, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from flowercli.hub.files import Advance, Wanted
    from flowercli.hub.patience import Say
    from flowercli.hub.reference import Reference
    from flowercli.hub.snapshot import Snapshot


@contextmanager
def exclusive(kind: str, reference: Reference, say: Say) -> Iterator[None]:
    """Let one process at a time fetch a thing; the others wait, and find it there."""
    folder = data_home() / FOLDERS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f".{_flat(reference.repo_id)}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"Another process is fetching {reference.repo_id}: waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def partial_folder(kind: str, source: Reference) -> Path:
    """Return the folder where a commit is put together, kept between attempts; drop those of other commits."""
    start = f"{PARTIAL_PREFIX}{_flat(source.repo_id)}@"
    folder = data_home() / FOLDERS[kind] / f"{start}{source.revision}"
    for other in folder.parent.glob(f"{start}*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def install(
    kind: str,
    snapshot: Snapshot,
    wanted: Sequence[Wanted],
    advance: Advance,
    say: Say,
    finish: Callable[[Path], None] = lambda _folder: None,
) -> Installed:
    """Fetch files into a folder of their own, move it to its place and enter it into the index.

    Args:
        kind: a kind of the index.
        snapshot: where they come from.
        wanted: the files.
        advance: called as bytes arrive.
        say: called when there is something to wait for.
        finish: called with the folder once all files are in it.

    Raises:
        HubError: a file cannot be fetched, or there is no space for them.
    """
    source = snapshot.source
    partial, target = partial_folder(kind, source), folder_of(kind, source.repo_id)
    _reuse(wanted, target, partial)
    _check_space(wanted, partial)
    for file in wanted:
        fetch(source, file, partial / file.name, advance, say)
    for path in partial.iterdir():
        if path.name not in {file.name for file in wanted}:
            path.unlink()
    finish(partial)
    replace_folder(partial, target)
    size = sum(path.stat().st_size for path in target.iterdir())
    weights = next((file.sha256 for file in wanted if kind == "backbone" and file.sha256), None)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = Installed(kind, source.repo_id, snapshot.url, snapshot.commit, weights, size, now)
    record(entry)
    return entry


def _reuse(wanted: Sequence[Wanted], target: Path, partial: Path) -> None:
    """Copy what did not change from the version that is there."""
    for file in wanted:
        old, new = target / file.name, partial / file.name
        if file.sha256 and not new.exists() and old.is_file() and describe(old)["sha256"] == file.sha256:
            shutil.copyfile(old, new)


def _check_space(wanted: Sequence[Wanted], folder: Path) -> None:
    arrived = {path.name: path.stat().st_size for path in folder.iterdir()}
    needed = sum(max(0, file.size - arrived.get(file.name, 0)) for file in wanted)
    free = shutil.disk_usage(folder).free
    if needed > free:
        message = f"{needed / 1e6:.1f} MB are to be fetched, and {free / 1e6:.1f} MB are free at {data_home()}."
        hint = (
            "Make space (flowers download --list, --remove NAME), or keep the data elsewhere: export FLOWERS_HOME=DIR"
        )
        raise HubError(message, hint=hint)


def _flat(repo_id: str) -> str:
    return repo_id.replace("/", "--")
