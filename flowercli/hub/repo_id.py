"""How a model of the Hub is named: ``OWNER/NAME``, with ``@REVISION`` where it is not the newest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from flowercli.errors import UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class RepoId:
    """A repository of the Hub and a branch, tag or commit of it; ``None`` is its main branch."""

    repo_id: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``OWNER/NAME`` or ``OWNER/NAME@REVISION``.

        Raises:
            UsageError: it is neither.
        """
        repo_id, at, revision = text.partition("@")
        if NAME.fullmatch(repo_id) is None or bool(at) != bool(revision):
            raise UsageError(f"'{text}' is no repo id.", hint="It is OWNER/NAME, or OWNER/NAME@REVISION.")
        return cls(repo_id, revision or None)

    @classmethod
    def maybe(cls, text: str) -> Self | None:
        """Read what may be a repo id, or a path that looks like one; ``None`` where it cannot be one."""
        try:
            return None if Path(text).suffix == ".onnx" else cls.parse(text)
        except UsageError:
            return None

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return self.revision is not None and COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return self.repo_id if self.revision is None else f"{self.repo_id}@{self.revision}"
