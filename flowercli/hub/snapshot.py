"""What a repository of the Hub holds at one commit: asked through the Hub's own client, with our patience."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from flowercli.errors import HubError
from flowercli.hub.client import client, endpoint, is_offline, patience
from flowercli.hub.faults import explained, from_network, from_status, may_pass, transport_error
from flowercli.hub.files import HubFile
from flowercli.hub.reference import Reference
from flowercli.transfer.faults import retry_after
from flowercli.transfer.patience import Patience, TemporaryFault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from huggingface_hub.hf_api import ModelInfo

    from flowercli.transfer.contract import Listener

Result = TypeVar("Result")


@dataclass(frozen=True)
class Snapshot:
    """A repository at a commit, and its files by name; ``private`` is whether only some may see it."""

    source: Reference
    files: dict[str, HubFile]
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


def look_up(reference: Reference, listener: Listener, patience: Patience) -> Snapshot:
    """Ask the Hub which commit a revision is, and what is in it.

    Raises:
        HubError: the Hub does not answer, or has no such repository or revision for this user.
    """
    api = client()
    with explained(reference):
        info = _patiently(
            lambda: api.model_info(
                reference.repo_id, revision=reference.revision, files_metadata=True, timeout=patience.timeout
            ),
            reference, listener, patience,
        )  # fmt: skip
    if info.sha is None:
        raise HubError(f"{endpoint()} does not say which commit {reference} is.", hint="Check HF_ENDPOINT.")
    return Snapshot(Reference(reference.repo_id, info.sha), _files(info), bool(info.private))


def require_repository(repo_id: str, *, unless_cached: Sequence[str] = ()) -> None:
    """Ask the Hub once whether it has a repository, before its client fetches a file of it.

    Without a network the client tries again for most of a minute, in silence, and then as long for a second file.

    Args:
        repo_id: ``OWNER/NAME``, or ``OWNER/NAME@REVISION``.
        unless_cached: files that need no Hub once one of them is in the cache of its client; nor does the client ask
            where ``HF_HUB_OFFLINE`` is set.

    Raises:
        HubError: the Hub does not answer, or has no such repository for this user.
    """
    from huggingface_hub import try_to_load_from_cache

    reference = Reference.parse(repo_id)
    cached = (try_to_load_from_cache(reference.repo_id, name) for name in unless_cached)
    if is_offline() or any(isinstance(path, str) for path in cached):
        return
    with explained(reference):
        try:
            client().model_info(reference.repo_id, timeout=patience().timeout)
        except transport_error() as error:
            if not may_pass(error):  # What may pass is left to the client, which asks again.
                raise


def _patiently(call: Callable[[], Result], reference: Reference, listener: Listener, patience: Patience) -> Result:
    """Return what a question to the Hub gives, asked again while what keeps it from an answer may pass."""
    failures = 0
    while True:
        try:
            return call()
        except transport_error() as error:
            if not may_pass(error):
                raise
            failures += 1
            patience.wait(_temporary(error, reference), failures, listener)


def _temporary(error: Exception, reference: Reference) -> TemporaryFault:
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return TemporaryFault(from_status(error, reference), retry_after(error.response.headers.get("Retry-After")))
    return TemporaryFault(from_network(error))


def _files(info: ModelInfo) -> dict[str, HubFile]:
    # Large files have a sha256; of small ones, kept in git itself, the Hub gives the size alone.
    listed = info.siblings or []
    return {
        file.rfilename: HubFile(file.rfilename, file.size, file.lfs.sha256 if file.lfs else None)
        for file in listed
        if file.size is not None
    }
