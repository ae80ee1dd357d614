"""What a repository of the Hub holds at one commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowercli.errors import HubError
from flowercli.hub.client import client, endpoint, timeout
from flowercli.hub.faults import explained
from flowercli.hub.files import Wanted
from flowercli.hub.patience import patiently
from flowercli.hub.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from huggingface_hub.hf_api import ModelInfo


@dataclass(frozen=True)
class Snapshot:
    """A repository at a commit, and its files by name; ``private`` is whether only some may see it."""

    source: Reference
    files: dict[str, Wanted]
    private: bool

    @property
    def commit(self) -> str:
        """The commit."""
        assert self.source.revision is not None
        return self.source.revision

    @property
    def url(self) -> str:
        """Where a person looks at it."""
        return f"{endpoint()}/{self.source.repo_id}"


def look_up(reference: Reference, say: Callable[[str], None]) -> Snapshot:
    """Ask the Hub which commit a revision is, and what is in it.

    Raises:
        HubError: the Hub does not answer, or has no such repository or revision for this user.
    """
    api = client()
    with explained(reference):
        info = patiently(
            reference,
            say,
            lambda: api.model_info(
                reference.repo_id, revision=reference.revision, files_metadata=True, timeout=timeout()
            ),
        )
    if info.sha is None:
        raise HubError(f"{endpoint()} does not say which commit {reference} is.", hint="Check HF_ENDPOINT.")
    return Snapshot(Reference(reference.repo_id, info.sha), _files(info), bool(info.private))


def _files(info: ModelInfo) -> dict[str, Wanted]:
    # Large files have a sha256; of small ones, kept in git itself, the Hub gives the size alone.
    listed = info.siblings or []
    return {
        file.rfilename: Wanted(file.rfilename, file.size, file.lfs.sha256 if file.lfs else None)
        for file in listed
        if file.size is not None
    }
