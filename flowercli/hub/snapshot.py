"""What a repository of the Hub holds at one commit: asked through the Hub's own client, with our patience."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from flowercli.errors import HubError
from flowercli.hub.client import bounded, client, endpoint, is_offline, patience, transport_error
from flowercli.hub.faults import explained, from_network, from_refusal, from_status, may_pass
from flowercli.hub.repo_id import RepoId
from flowercli.plain_file import MOST_BYTES
from flowercli.transfer.clock import TooSlowError, within
from flowercli.transfer.contract import Listener, Patience, TemporaryFault, Wanted
from flowercli.transfer.faults import AGAIN, retry_after

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo


Result = TypeVar("Result")

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
# What no file system holds.
MOST_OF_FILE = 2**63


@dataclass(frozen=True)
class HubFile:
    """A file of a repository, and what it has to be; ``sha256`` is ``None`` where nobody says.

    The Hub's own client forgets what had arrived when its process ends, so the bytes come through
    ``flowercli.transfer``; addresses, headers and token are the client's.
    """

    name: str
    size: int
    sha256: str | None

    def at(self, source: RepoId) -> Wanted:
        """Return what to fetch for it.

        Args:
            source: the repository and its commit. The Hub says of each file which commit it is of, and of large ones
                their sha256, before it leads to the host that has the bytes: what differs is not fetched.
        """
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        stated = {"X-Repo-Commit": source.revision, "X-Linked-ETag": self.sha256}
        return Wanted(
            hf_hub_url(source.repo_id, self.name, revision=source.revision),
            self.size,
            self.sha256,
            called=f"{self.name} of {source}",
            headers=build_hf_headers(),
            stated={name: value for name, value in stated.items() if value},
            explain=partial(from_refusal, source),
        )


@dataclass(frozen=True)
class Snapshot:
    """A repository at a commit, and its files by name; ``private`` is whether only some may see it."""

    source: RepoId
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


def look_up(reference: RepoId, listener: Listener, patience: Patience) -> Snapshot:
    """Ask the Hub which commit a revision is, and what is in it.

    Raises:
        HubError: the Hub does not answer, or not as a Hub does, or has no such repository or revision for this user.
    """
    api = client()
    with explained(reference):
        info = _patiently(
            lambda: api.model_info(
                reference.repo_id, revision=reference.revision, files_metadata=True, timeout=patience.timeout
            ),
            reference, listener, patience,
        )  # fmt: skip
    # It becomes the name of a folder.
    if not isinstance(info.sha, str) or not COMMIT.fullmatch(info.sha):
        raise HubError(f"{endpoint()} does not say which commit {reference} is.", hint="Check HF_ENDPOINT.")
    return Snapshot(RepoId(reference.repo_id, info.sha), _files(info), bool(info.private))


def require_small(snapshot: Snapshot, name: str) -> None:
    """See that a file which is to be read into memory has a size for that, before it is fetched.

    Raises:
        HubError: it has not.
    """
    if (size := snapshot.files[name].size) > MOST_BYTES:
        most = f"at most {MOST_BYTES // 2**20} MiB are read"
        raise HubError(f"{name} of {snapshot.source.repo_id} has {size / 2**20:.0f} MiB, and {most}.")


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

    reference = RepoId.parse(repo_id)
    cached = (try_to_load_from_cache(reference.repo_id, name) for name in unless_cached)
    if is_offline() or any(isinstance(path, str) for path in cached):
        return
    with explained(reference):
        try:
            api, usual = client(), patience()
            _once(lambda: api.model_info(reference.repo_id, timeout=usual.timeout), usual)
        except transport_error() as error:
            if not may_pass(error):  # What may pass is left to the client, which asks again.
                raise


def _patiently(call: Callable[[], Result], reference: RepoId, listener: Listener, patience: Patience) -> Result:
    """Return what a question to the Hub gives, asked again while what keeps it from an answer may pass."""
    failures = 0
    while True:
        try:
            return _once(call, patience)
        except transport_error() as error:
            if not may_pass(error):
                raise
            failures += 1
            patience.wait(_temporary(error, reference), failures, listener)


def _once(call: Callable[[], Result], patience: Patience) -> Result:
    """Return what one question gives, whose answer is small and soon there.

    Raises:
        HubError: it is not.
    """
    with bounded() as stop:
        try:
            return within(patience.span, call)
        except TooSlowError as error:
            stop()
            raise HubError(f"{endpoint()} answers too slowly.", hint=f"Later: {AGAIN}") from error


def _temporary(error: Exception, reference: RepoId) -> TemporaryFault:
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return TemporaryFault(from_status(error, reference), retry_after(error.response.headers.get("Retry-After")))
    return TemporaryFault(from_network(error))


def _files(info: ModelInfo) -> dict[str, HubFile]:
    """Return the files that the Hub lists, with what it says of each after a look whether that can be.

    Raises:
        HubError: it cannot.
    """
    # Large files have a sha256; of small ones, kept in git itself, the Hub gives the size alone.
    files = [
        HubFile(file.rfilename, file.size, file.lfs.sha256 if file.lfs else None)
        for file in info.siblings or []
        if file.size is not None
    ]
    for file in files:
        if not (isinstance(file.name, str) and _is_size(file.size) and _is_sha256(file.sha256)):
            message = f"{endpoint()} describes the file '{file.name}' in a way that cannot be right."
            raise HubError(message, hint="Check HF_ENDPOINT.")
    return {file.name: file for file in files}


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST_OF_FILE


def _is_sha256(value: Any) -> bool:
    return value is None or (isinstance(value, str) and SHA256.fullmatch(value) is not None)
