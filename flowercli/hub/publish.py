"""``flowers publish``: a verified bundle to the Hub, in one commit and without what belongs to this machine."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowercli.atomic import scratch_folder
from flowercli.bundle import (
    CARD,
    CONFIG,
    MACHINE_BOUND,
    MANIFEST,
    ONNX,
    ONNX_FP16,
    ONNX_INT8,
    REFERENCE,
    WEIGHTS,
    Bundle,
    to_json,
    without_local_paths,
)
from flowercli.errors import BundleError, HubError, UsageError
from flowercli.hub.client import client, has_token
from flowercli.hub.faults import TOKEN, explained
from flowercli.hub.models import read_description
from flowercli.hub.reference import Reference
from flowercli.hub.snapshot import look_up

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    from flowercli.hub.snapshot import Snapshot
    from flowercli.transfer.contract import FilesListener
    from flowercli.transfer.patience import Patience

# What a bundle may consist of; a file of these that the new version lacks is deleted.
OURS = (CONFIG, WEIGHTS, ONNX, ONNX_FP16, ONNX_INT8, CARD, MANIFEST, REFERENCE)
MADE_BY_THE_HUB = ".gitattributes"


@dataclass(frozen=True)
class Published:
    """Where a bundle is now."""

    repo_id: str
    url: str
    commit: str
    private: bool


def target(repo_id: str) -> Reference:
    """Return the repository to publish to.

    Raises:
        UsageError: it is no ``OWNER/NAME``.
    """
    reference = Reference.parse(repo_id)
    if reference.revision is not None:
        raise UsageError(f"A bundle goes to a repository, not to a revision of it: {reference.repo_id}")
    return reference


def contents(bundle: Bundle) -> dict[str, bytes | Path]:
    """Return what would be uploaded, by name, after checking every file of the bundle.

    Raises:
        BundleError: it is a lone ``.onnx``, or a file is missing or altered.
    """
    if bundle.is_lone_onnx:
        message = f"{bundle.path} is a lone .onnx: a bundle is a folder with a card and weights."
        raise BundleError(message, hint="Publish the folder that it was exported into.")
    bundle.verify()
    section = {key: value for key, value in without_local_paths(bundle.section).items() if key != "origin"}
    for key in ("files", "exports"):
        section[key] = {name: value for name, value in section.get(key, {}).items() if name not in MACHINE_BOUND}
    description = to_json({**bundle.config, "flowers": section}).encode()
    return {CONFIG: description} | {name: bundle.path / name for name in sorted(section["files"])}


def publish(
    bundle: Bundle,
    repo_id: str,
    listener: FilesListener,
    patience: Patience,
    *,
    private: bool,
    message: str,
    progress: bool = False,
) -> Published:
    """Upload a bundle, into a new repository or as the next version of the bundle that is there.

    Args:
        bundle: a folder.
        repo_id: ``OWNER/NAME``.
        listener: told where there is something to wait for.
        patience: retries and timeouts, until the upload starts.
        private: make the new repository private.
        message: of the commit.
        progress: let the Hub's client draw its progress on stderr.

    Raises:
        BundleError: the bundle is not whole.
        HubError: there is no token, it may not do that, or the repository holds something else.
    """
    reference = target(repo_id)
    files = contents(bundle)
    api = client(progress=progress)
    if not has_token():
        raise HubError("Publishing needs a token of the Hub that may write.", hint=TOKEN)
    with explained(reference):
        api.create_repo(repo_id, private=private or None, exist_ok=True)
    before = look_up(reference, listener, patience)
    _check_is_ours(before, listener, patience, private=private)
    with explained(reference), warnings.catch_warnings():
        # The client's way of sending large files is one that its HTTP library warns of.
        warnings.simplefilter("ignore", DeprecationWarning)
        done = api.create_commit(repo_id, _operations(files, before), commit_message=message)
    return Published(repo_id, before.url, done.oid, before.private)


def _operations(files: dict[str, bytes | Path], before: Snapshot) -> list[CommitOperationAdd | CommitOperationDelete]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    stale = [name for name in OURS if name in before.files and name not in files]
    added = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in files.items()]
    return [*added, *(CommitOperationDelete(path_in_repo=name) for name in stale)]


def _check_is_ours(before: Snapshot, listener: FilesListener, patience: Patience, *, private: bool) -> None:
    """Refuse to write over something that is no bundle, or to publish what should be private."""
    if private and not before.private:
        message = f"{before.source.repo_id} exists and is public: nothing was uploaded."
        raise HubError(
            message, hint=f"Make it private in its settings ({before.url}/settings), or choose another name."
        )
    held = sorted(before.files.keys() - {MADE_BY_THE_HUB, CARD})
    if not held:
        return
    try:
        with scratch_folder("publish") as folder:
            read_description(before, folder, listener, patience)
    except (HubError, BundleError) as error:
        message = f"{before.source.repo_id} holds something else ({', '.join(held[:3])}): nothing was uploaded."
        raise HubError(message, hint="Choose another name, or delete what is there.") from error
