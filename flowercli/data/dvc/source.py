"""``flowers download dataset dvc``: an archive under DVC in anybody's repository, through DVC's own file system."""

from __future__ import annotations

import atexit
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo.open_repo import clean_repos
from dvc.scm import CloneError, GitAuthError, RevError, SCMError

from flowercli.data.dvc.dvc_quietly import not_trusted, running_dvc
from flowercli.data.dvc.objects import ObjectStream
from flowercli.errors import DataError, UsageError

if TYPE_CHECKING:
    from flowercli.transfer.contract import Request, Stream

EXAMPLE = "flowers download dataset dvc --repo https://github.com/OWNER/NAME --path data/flowers.tar"


class DvcArchive:
    """A file of a DVC or Git repository at a revision.

    Args:
        repo: the path of a repository, or the URL of a Git repository, which is cloned while this program runs.
        path: the file, from the top of the repository.
        rev: a branch, tag or commit; by default what lies in a local folder now, or the default branch of a URL.

    Raises:
        UsageError: there is no such repository, revision or file.
        DataError: the repository cannot be read.
    """

    def __init__(self, repo: str, path: str, rev: str | None) -> None:
        self.repo, self.path, self.rev = _checked(repo), path, rev
        atexit.register(clean_repos)
        with running_dvc(repo):
            self._info = self._look_up()

    @property
    def url(self) -> str:
        """How it is called in messages and in the index."""
        return f"{self.repo}{f'@{self.rev}' if self.rev else ''}:{self.path}"

    @property
    def md5(self) -> str | None:
        """DVC's hash of it; ``None`` where it is in Git itself."""
        return (self._info.get("dvc_info") or {}).get("md5")

    @property
    def size(self) -> int | None:
        """Its length, where the repository says."""
        size = self._info.get("size")
        return size if isinstance(size, int) else None

    def open_stream(self, request: Request) -> Stream:
        """Open it.

        Raises:
            DataError: DVC cannot get it from where it is kept.
        """
        with running_dvc(self.repo):
            return ObjectStream(partial(self._files.open, self.path, "rb"), request, self.md5)

    def _look_up(self) -> dict[str, Any]:
        try:
            self._files = DVCFileSystem(self.repo, rev=self.rev)
            info: dict[str, Any] = self._files.info(self.path)
        except FileNotFoundError:
            raise UsageError(f"{self.url}: there is no such file.", hint=self._what_there_is()) from None
        except RevError:
            raise UsageError(f"{self.repo} has no revision '{self.rev}'.", hint="--rev BRANCH, TAG or COMMIT") from None
        except (CloneError, GitAuthError, NotDvcRepoError, SCMError) as error:
            raise _not_readable(self.repo, error) from error
        if info["type"] == "directory":
            get = shlex.join(["dvc", "get", self.repo, self.path])
            hint = f"{get}, then {shlex.join(['flowers', 'split', Path(self.path).name])}"
            raise UsageError(f"{self.url} is a folder, not an archive.", hint=hint)
        return info

    def _what_there_is(self) -> str:
        if self._files.exists(f"{self.path}.tar"):
            return f"A dataset is kept as one archive: --path {shlex.quote(self.path)}.tar"
        revision = ["--rev", self.rev] if self.rev else []
        return f"What there is: {shlex.join(['dvc', 'list', '-R', self.repo, *revision])}"


def _checked(repo: str) -> str:
    parts = urlsplit(repo)
    if parts.password is not None or (parts.scheme in {"http", "https"} and parts.username is not None):
        message = "A login in an address would be seen in lists of processes and in messages; it is not taken."
        raise UsageError(message, hint="Let Git know it: git config credential.helper store")
    if "://" in repo or ":" in repo:
        return repo
    if not Path(repo).is_dir():
        raise UsageError(f"--repo {repo}: there is no such folder.", hint=EXAMPLE)
    return str(Path(repo).resolve())


def _not_readable(repo: str, error: DvcException) -> UsageError | DataError:
    if isinstance(error, NotDvcRepoError) or Path(repo).is_dir():
        return UsageError(f"{repo} is no repository of Git or DVC.", hint=EXAMPLE)
    reason: BaseException = error
    while reason.__cause__ is not None:
        reason = reason.__cause__
    if (untrusted := not_trusted(str(reason), repo)) is not None:
        return untrusted
    return DataError(
        f"{repo} cannot be cloned: {' '.join(str(reason).split())}",
        hint=f"Can Git? {shlex.join(['git', 'ls-remote', repo])}",
    )
