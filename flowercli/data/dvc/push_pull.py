"""Push datasets and models to the remote of the user's repository, and pull them from there.

DVC adds, sends, fetches and checks out; ours is what it does not do: one archive for a dataset, going on in the middle
of an object, and saying whether the remote lacks an object or holds another one, which DVC calls missing both times.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.bundle import Bundle
from flowercli.data.dvc.dvc_quietly import running_dvc
from flowercli.data.dvc.objects import Target, fetch_objects, send
from flowercli.data.dvc.repository import opened
from flowercli.data.dvc.tracked import (
    ARCHIVE,
    DATASET,
    MODEL,
    Status,
    Tracked,
    all_tracked,
    find_tracked,
    kind_of,
    refuse_pipeline_output,
    shown,
    statuses,
)
from flowercli.data.packing import pack, size_below, unpack_over
from flowercli.data.scan import scan_dataset
from flowercli.errors import DataError, UsageError, WrongContentError
from flowercli.shown import in_shell
from flowercli.transfer.faults import check_space

if TYPE_CHECKING:
    from dvc.repo import Repo

    from flowercli.data.dvc.remote import Remote
    from flowercli.data.get_dataset import DatasetListener
    from flowercli.progress import Advance


@dataclass(frozen=True)
class Pushed:
    """What was pushed: the tracked thing's path, kind, hash and size, what was sent, and the files to commit."""

    path: Path
    kind: str
    md5: str
    size: int
    objects_sent: int
    commit: list[Path]


@dataclass(frozen=True)
class Pulled:
    """What was pulled; ``changed`` is whether the folder was not that already."""

    path: Path
    kind: str
    md5: str
    changed: bool


def push(path: Path, advance: Advance) -> Pushed:
    """Track a dataset, as one archive, or a model, as a folder, and send it to the remote.

    What an earlier push sent, finished or not, is not sent again.

    Raises:
        UsageError: it is no folder, or in no repository with a remote.
        DataError: it is neither a dataset nor a whole model, or the remote cannot be used.
    """
    folder = path.resolve()
    if not folder.is_dir():
        raise UsageError(f"{path} is not a folder.", hint="flowers data push FOLDER   (a dataset or a bundle)")
    kind = kind_of(folder)
    if kind == MODEL:
        Bundle.load(folder).verify()
    else:
        scan_dataset(folder)
    with opened(folder) as (repo, remote):
        if not folder.is_relative_to(repo.root_dir) or folder == Path(repo.root_dir):
            raise UsageError(f"{path} is not a folder inside {repo.root_dir}.")
        refuse_pipeline_output(repo, folder)
        remote.check()
        thing = _track(repo, folder, kind, advance)
        sent = _send(repo, remote, thing, advance)
    gitignore = thing.file.with_name(".gitignore")
    commit = [thing.file, *([gitignore] if gitignore.is_file() else [])]
    return Pushed(folder, kind, thing.md5, thing.size, sent, commit)


def pull(path: Path | None, listener: DatasetListener, *, force: bool = False, anonymous: bool = False) -> list[Pulled]:
    """Fetch what the ``.dvc`` files of the repository name, and unpack datasets beside their archives.

    Args:
        path: one of them; ``None`` is all.
        listener: told of the progress.
        force: replace folders that hold something else.
        anonymous: read a public bucket without credentials.

    Raises:
        UsageError: there is no repository, or no remote.
        DataError: the remote cannot be used or lacks it, or a folder holds something else.
    """
    with opened((path or Path.cwd()).resolve(), anonymous=anonymous) as (repo, remote):
        things = all_tracked(repo) if path is None else [find_tracked(repo, path)]
        states = {thing.file: thing.state() for thing in things}
        for thing in things:
            if states[thing.file] == "changed" and not force:
                message = f"{shown(thing.path)} is there already and is not what is tracked."
                name = in_shell(shown(thing.path))
                hint = f"Keep it: flowers data push {name}   Replace it: flowers data pull {name} --force"
                raise DataError(message, hint=hint)
        wanted = [thing for thing in things if states[thing.file] != "current"]
        if wanted:
            remote.check()
        for thing in wanted:
            _fetch(repo, remote, thing, listener)
    return [Pulled(thing.path, thing.kind, thing.md5, thing in wanted) for thing in things]


def status(*, ask_remote: bool = True) -> tuple[list[Status], DataError | None]:
    """Return the status of everything tracked, and what is wrong with the remote if it could not be asked.

    Raises:
        UsageError: there is no repository, or no remote.
    """
    trouble = None
    with opened(Path.cwd()) as (repo, remote):
        if ask_remote:
            try:
                with running_dvc(remote.where):
                    remote.check()
            except DataError as error:
                trouble = error
        return statuses(repo, all_tracked(repo), remote if ask_remote and trouble is None else None), trouble


def _track(repo: Repo, folder: Path, kind: str, advance: Advance) -> Tracked:
    """Put a folder under DVC, and keep it out of Git."""
    target = folder
    if kind == DATASET:
        size = size_below(folder)
        check_space(folder.parent, size)
        target = folder.with_name(folder.name + ARCHIVE)
        pack(folder, target, lambda done: advance("Packing", size, done))
    with _linked(repo, target):
        [stage] = repo.add(str(target))
    thing = Tracked(stage)
    if thing.out.annot.type != kind:
        thing.out.annot.type = kind
        stage.dump()
    repo.scm_context.ignore(str(folder))
    return thing


def _send(repo: Repo, remote: Remote, thing: Tracked, advance: Advance) -> int:
    """Send large objects in parts, then let DVC send the rest; return how many were sent."""
    oids = thing.oids()
    sent = 0
    for oid in sorted(oids.keys() - remote.has(oids)):
        source = Path(repo.cache.local.oid_to_path(oid))
        bucket, key, _ = remote.files.split_path(remote.odb.oid_to_path(oid))
        size = source.stat().st_size
        progress = partial(advance, f"Sending {Path(oids[oid]).name}", size)
        sent += send(source, Target(remote.files, bucket, key), progress)
    return sent + int(repo.push(targets=[str(thing.file)]))


def _fetch(repo: Repo, remote: Remote, thing: Tracked, listener: DatasetListener) -> None:
    """Fetch one thing into the cache and from there into its place.

    Raises:
        DataError: the remote does not have it, or it is not what its hash says.
    """
    if not repo.cache.local.exists(thing.md5):
        if not remote.has([thing.md5]):
            message = f"{remote.where} does not hold this version of {shown(thing.path)} ({thing.md5[:12]}…)."
            hint = f"Whoever made it has to: flowers data push {in_shell(shown(thing.path))}"
            raise DataError(message, hint=hint)
        check_space(Path(repo.root_dir), 2 * thing.size)
    _fetch_into_cache(repo, remote, thing, listener)
    with _linked(repo, Path(thing.out.fs_path)):
        repo.checkout(targets=[str(thing.file)], force=True)
    if thing.is_packed:
        unpack_over(Path(thing.out.fs_path), thing.path, listener)
        repo.scm_context.ignore(str(thing.path))
    elif thing.kind == MODEL:
        Bundle.load(thing.path).verify()


def _fetch_into_cache(repo: Repo, remote: Remote, thing: Tracked, listener: DatasetListener) -> None:
    try:
        if thing.out.hash_name == repo.cache.local.hash_name:  # Versions before DVC 3 keep theirs in another place.
            fetch_objects(repo, remote, thing, listener)
        repo.fetch(targets=[str(thing.file)])
        wrong = thing.out.changed_cache()  # DVC throws away what does not have its hash, without a word.
    except WrongContentError:
        wrong = True
    if wrong:
        message = f"What {remote.where} holds as {shown(thing.path)} is not what its hash says."
        raise DataError(
            message, hint=f"Whoever has it whole: delete it there, then flowers data push {in_shell(shown(thing.path))}"
        )


@contextmanager
def _linked(repo: Repo, target: Path) -> Iterator[None]:
    """Have DVC link an archive to its cache instead of copying it: it is never edited, a model's files may be."""
    cache = repo.cache.local
    before = cache.cache_types
    if target.name.endswith(ARCHIVE):
        cache.cache_types = ["reflink", "hardlink", "copy"]
    try:
        yield
    finally:
        cache.cache_types = before
