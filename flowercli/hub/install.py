"""The place of what comes from the Hub in the user's data directory: whole or not at all, by one process at a time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.atomic import PARTIAL_PREFIX, replace_folder
from flowercli.bundle import describe
from flowercli.installed import Installed, folder_of, in_progress, record, size_of
from flowercli.locks import alone
from flowercli.transfer.faults import check_space, disk_faults
from flowercli.transfer.fetch import fetch

if TYPE_CHECKING:
    from flowercli.hub.repo_id import RepoId
    from flowercli.hub.snapshot import HubFile, Snapshot
    from flowercli.transfer.contract import FilesListener, Patience


@contextmanager
def exclusive(kind: str, reference: RepoId, listener: FilesListener) -> Iterator[None]:
    """Let one process at a time fetch a thing; the others wait, and find it there.

    Raises:
        DownloadError: the disk is full, or may not be written to.
    """
    with disk_faults(), alone(in_progress(kind, reference.repo_id), listener.waiting):
        yield


def partial_folder(kind: str, source: RepoId) -> Path:
    """Return the folder where a commit is put together, kept between attempts; drop those of other commits."""
    locked = in_progress(kind, source.repo_id)
    start = f"{PARTIAL_PREFIX}{locked.name}@"
    folder = locked.with_name(f"{start}{source.revision}")
    for other in folder.parent.glob(f"{start}*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def install(
    kind: str,
    snapshot: Snapshot,
    files: Sequence[HubFile],
    listener: FilesListener,
    patience: Patience,
    finish: Callable[[Path], None] = lambda _folder: None,
) -> Installed:
    """Fetch files into a folder of their own, move it to its place and enter it into the index.

    Args:
        kind: a kind of the index.
        snapshot: where they come from.
        files: what to fetch.
        listener: told of the progress.
        patience: retries and timeouts.
        finish: called with the folder once all files are in it.

    Raises:
        DownloadError: a file cannot be fetched, or there is no space for them.
    """
    source = snapshot.source
    partial, target = partial_folder(kind, source), folder_of(kind, source.repo_id)
    _reuse(files, target, partial)
    check_space(partial, sum(file.size for file in files) - size_of(partial))
    for file in files:
        listener.fetching(file.name)
        done = fetch(file.at(source), partial / file.name, listener, patience=patience)
        if file.sha256:  # Of small files, kept in Git itself, the Hub gives the length alone.
            listener.fetched(done)
    for path in partial.iterdir():
        if path.name not in {file.name for file in files}:
            path.unlink()
    finish(partial)
    replace_folder(partial, target)
    weights = next((file.sha256 for file in files if kind == "backbone" and file.sha256), None)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = Installed(kind, source.repo_id, snapshot.url, snapshot.commit, weights, size_of(target), now)
    record(entry)
    return entry


def _reuse(files: Sequence[HubFile], target: Path, partial: Path) -> None:
    """Copy what did not change from the version that is there."""
    for file in files:
        old, new = target / file.name, partial / file.name
        if file.sha256 and not new.exists() and old.is_file() and describe(old)["sha256"] == file.sha256:
            shutil.copyfile(old, new)
