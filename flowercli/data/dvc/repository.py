"""The user's own repository: found, made ready for DVC, and never committed to."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.fs import get_cloud_fs
from dvc.repo import Repo, lock_repo

from flowercli.data.dvc.dvc_quietly import not_trusted, running_dvc
from flowercli.data.dvc.remote import EXAMPLE, Remote, check_bucket
from flowercli.errors import UsageError

REMOTE = "flowers"


@dataclass(frozen=True)
class Initialised:
    """What :func:`init` left: the repository's folder, its remote, what it did, and the files to commit."""

    root: Path
    url: str
    done: list[str]
    commit: list[Path]


def init(url: str, endpoint: str | None, *, no_scm: bool = False, check: bool = True) -> Initialised:
    """Make the repository around the current folder ready; what is so already is left as it is.

    Args:
        url: of the remote, checked.
        endpoint: of an S3 server that is not Amazon's, checked.
        no_scm: use the current folder without Git.
        check: ask the remote first; nothing stays written where it cannot be used.

    Raises:
        UsageError: there is no Git repository, or another remote is the default.
        DataError: the remote cannot be used.
    """
    wanted = {"url": url, "verify": True} | ({"endpointurl": endpoint} if endpoint else {})
    with running_dvc(f"{url} at {endpoint}" if endpoint else url):
        root = _dvc_root()
        made = root is None
        if root is None:
            root = Path.cwd() if no_scm else git_root()
            if check:
                _check_alone(wanted)
            Repo.init(str(root), no_scm=no_scm).close()
        done = [f"made a DVC repository in {root}"] if made else []
        with closing(Repo(str(root))) as repo:
            if (change := _change(repo, wanted)) is not None:
                if check and not made:
                    _check_alone(wanted)
                _write(repo, wanted, analytics=made)
                done.append(change)
    files = [root / ".dvc" / "config", root / ".dvc" / ".gitignore", root / ".dvcignore"]
    return Initialised(root, url, done, [] if no_scm else [path for path in files if path.exists()])


@contextmanager
def opened(path: Path, *, anonymous: bool = False) -> Iterator[tuple[Repo, Remote]]:
    """Open the DVC repository that a path is in, and its remote; nobody else uses DVC there meanwhile.

    Args:
        path: a file or folder, which need not exist.
        anonymous: read a public bucket without credentials.

    Raises:
        UsageError: there is none, or it has no remote on S3.
        DataError: another process uses it, or what is done within fails in DVC or at the remote.
    """
    with running_dvc():
        repo = _open(path, anonymous=anonymous)
        remote = Remote.of(repo)
    with running_dvc(remote.where), lock_repo(repo), closing(repo):
        yield repo, remote


def _open(path: Path, *, anonymous: bool) -> Repo:
    start = next(folder for folder in (path, *path.parents) if folder.is_dir())
    root = _dvc_root(start)
    if root is None:
        raise UsageError(f"{start} is in no DVC repository.", hint=EXAMPLE)
    repo = Repo(str(root))
    if anonymous:
        name = Remote.of(repo).name
        repo.close()
        repo = Repo(str(root), config={"remote": {name: {"allow_anonymous_login": True}}})
    return repo


def git_root() -> Path:
    """Return the top folder of the Git repository around the current folder.

    Raises:
        UsageError: there is none, or no Git.
        DataError: it is another user's.
    """
    hint = f"git init   (or, without Git: {EXAMPLE} --no-scm)"
    try:
        command = ["git", "rev-parse", "--show-toplevel"]
        english = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=english)  # noqa: S603
    except FileNotFoundError:
        raise UsageError("Git is not installed.", hint=f"Install it, or without Git: {EXAMPLE} --no-scm") from None
    if (untrusted := not_trusted(done.stderr, str(Path.cwd()))) is not None:
        raise untrusted
    if done.returncode:
        raise UsageError(f"{Path.cwd()} is in no Git repository.", hint=hint)
    return Path(done.stdout.strip())


def _dvc_root(start: Path | None = None) -> Path | None:
    start = (start or Path.cwd()).resolve()
    return next((folder for folder in (start, *start.parents) if (folder / ".dvc" / "config").is_file()), None)


def _change(repo: Repo, wanted: dict[str, Any]) -> str | None:
    """Say what the configuration of the remote will be changed from, or ``None`` if it is as wanted.

    Raises:
        UsageError: the default remote is another one, which somebody chose.
    """
    default = repo.config["core"].get("remote")
    remotes: dict[str, Any] = repo.config["remote"]
    if default not in (None, REMOTE):
        if remotes.get(default, {}).get("url") == wanted["url"]:
            return None
        message = f"The default remote is '{default}' already, {remotes.get(default, {}).get('url')}."
        raise UsageError(message, hint=f"Keep it, or first: dvc remote default {REMOTE} (or --unset)")
    before = remotes.get(REMOTE)
    if before is None:
        return f"set the remote '{REMOTE}' to {wanted['url']}"
    if default == REMOTE and all(before.get(key) == wanted.get(key) for key in ("url", "endpointurl", "verify")):
        return None
    return f"changed the remote '{REMOTE}' from {before.get('url')} to {wanted['url']}"


def _write(repo: Repo, wanted: dict[str, Any], *, analytics: bool) -> None:
    with repo.config.edit("repo") as config:
        kept = {k: v for k, v in config["remote"].get(REMOTE, {}).items() if k not in {"url", "endpointurl"}}
        config["remote"][REMOTE] = {**kept, **wanted}
        config["core"]["remote"] = REMOTE
        if analytics:
            config["core"]["analytics"] = False


def _check_alone(wanted: dict[str, Any]) -> None:
    """Ask a remote that no repository knows yet."""
    cls, options, path = get_cloud_fs({}, **wanted)
    check_bucket(cls(**options), path)
