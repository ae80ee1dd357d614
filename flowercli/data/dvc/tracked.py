"""What a repository tracks: each ``.dvc`` file, what it stands for, and where that is.

DVC's own status looks at the archive of a dataset, not at the folder beside it, which is what people work with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli.bundle import CONFIG
from flowercli.data.packing import packed_md5
from flowercli.errors import DataError, UsageError
from flowercli.shown import in_shell

if TYPE_CHECKING:
    from dvc.repo import Repo

    from flowercli.data.dvc.remote import Remote

ARCHIVE = ".tar"
DATASET, MODEL, OTHER = "dataset", "model", "other"


@dataclass(frozen=True)
class Tracked:
    """One ``.dvc`` file with one output. ``stage`` is DVC's object for it."""

    stage: Any

    @property
    def file(self) -> Path:
        """The ``.dvc`` file."""
        return Path(self.stage.path)

    @property
    def out(self) -> Any:
        """DVC's object for what is tracked."""
        return self.stage.outs[0]

    @property
    def kind(self) -> str:
        """What it was when it was pushed."""
        known = {DATASET, MODEL}
        return str(self.out.annot.type) if self.out.annot.type in known else OTHER

    @property
    def is_packed(self) -> bool:
        """Whether it is a dataset as one archive."""
        return self.kind == DATASET and str(self.out.fs_path).endswith(ARCHIVE)

    @property
    def path(self) -> Path:
        """The folder or file that the user works with."""
        tracked = Path(self.out.fs_path)
        return tracked.with_name(tracked.name.removesuffix(ARCHIVE)) if self.is_packed else tracked

    @property
    def md5(self) -> str:
        """DVC's hash of it; of a folder, with ``.dir`` at the end."""
        return str(self.out.hash_info.value)

    @property
    def size(self) -> int:
        """Its bytes, as recorded."""
        return int(self.out.meta.size or 0)

    def oids(self) -> dict[str, str]:
        """Return the hashes of its objects and what each is called; those of a folder that are known here."""
        used: dict[Any, Any] = self.out.get_used_objs()
        return {str(info.value): info.obj_name or info.value for infos in used.values() for info in infos}

    def state(self) -> str:
        """Return ``current``, ``changed`` or ``missing``: the user's folder against the ``.dvc`` file."""
        if not self.path.exists():
            return "missing"
        if self.is_packed:
            return "current" if self.path.is_dir() and packed_md5(self.path) == self.md5 else "changed"
        return "changed" if self.out.changed_checksum() else "current"


@dataclass(frozen=True)
class Status:
    """A tracked thing as ``flowers data status`` shows it; ``pushed`` is ``None`` where the remote was not asked."""

    path: str
    kind: str
    size: int
    md5: str
    state: str
    cached: bool
    pushed: bool | None


def all_tracked(repo: Repo) -> list[Tracked]:
    """Return everything that has a ``.dvc`` file of its own; what a pipeline makes is not among it."""
    stages = [stage for stage in repo.index.stages if stage.is_data_source and len(stage.outs) == 1]
    return sorted((Tracked(stage) for stage in stages), key=lambda thing: thing.file)


def find_tracked(repo: Repo, path: Path) -> Tracked:
    """Return what is tracked under a path: a folder's, an archive's or that of a ``.dvc`` file.

    Raises:
        DataError: nothing is.
    """
    wanted = path.resolve()
    things = all_tracked(repo)
    for thing in things:
        if wanted in {thing.path, thing.file, Path(thing.out.fs_path)}:
            return thing
    known = ", ".join(shown(thing.path) for thing in things) or "nothing yet: flowers data push PATH"
    raise DataError(f"{path} is not tracked in {repo.root_dir}.", hint=f"Tracked: {known}")


def refuse_pipeline_output(repo: Repo, folder: Path) -> None:
    """Refuse a folder that a pipeline makes: DVC tracks it already.

    Raises:
        UsageError: it is one.
    """
    for stage in repo.index.stages:
        if not stage.is_data_source and str(folder) in {out.fs_path for out in stage.outs}:
            message = f"{shown(folder)} is made by the stage '{stage.name}' of dvc.yaml, and is tracked there."
            raise UsageError(message, hint=f"dvc push {in_shell(shown(folder))}")


def kind_of(path: Path) -> str:
    """Return whether a folder is a model bundle or a dataset."""
    return MODEL if (path / CONFIG).is_file() else DATASET


def statuses(repo: Repo, things: Iterable[Tracked], remote: Remote | None) -> list[Status]:
    """Compare what is tracked with the user's folders, DVC's cache and, unless it is ``None``, the remote."""
    found = []
    for thing in things:
        cached = repo.cache.local.exists(thing.md5)
        pushed = None if remote is None else remote.has(oids := thing.oids()) == oids.keys()
        path = Path(thing.path).relative_to(Path(repo.root_dir)).as_posix()
        found.append(Status(path, thing.kind, thing.size, thing.md5, thing.state(), cached, pushed))
    return found


def shown(path: Path) -> str:
    """Return a path as a user would type it."""
    try:
        return path.relative_to(Path.cwd().resolve()).as_posix()
    except ValueError:
        return str(path)
