"""``flowers publish``: a verified bundle to the Hub, in one commit and without what belongs to this machine.

What the repository has and the bundle lacks stays where it belongs to this very model, as a download may have left it
out, and where no bundle lists it. Files of another version are removed if the user says so, and not otherwise.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli.atomic import scratch_folder
from flowercli.bundle import CARD, CONFIG, MACHINE_BOUND, Bundle, to_json, without_local_paths
from flowercli.errors import BundleError, HubError, UsageError
from flowercli.hub.card import Card, card_to_have
from flowercli.hub.client import client, has_token
from flowercli.hub.downloads import entries_left_out, read_description
from flowercli.hub.faults import TOKEN, NoRepositoryError, explained
from flowercli.hub.repo_id import RepoId
from flowercli.hub.snapshot import Snapshot, look_up, require_small
from flowercli.transfer.fetch import fetch

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    from flowercli.transfer.contract import FilesListener, Patience

MADE_BY_THE_HUB = ".gitattributes"


@dataclass(frozen=True)
class Repository:
    """What is at the Hub: its files, what the bundle there lists of them, and the model card."""

    snapshot: Snapshot
    listed: dict[str, Any]
    card: Card | None


@dataclass(frozen=True)
class Plan:
    """What a publication does to the files of a repository: sends some, leaves some there, and removes some.

    ``license_id`` is what the card states then.
    """

    sent: dict[str, bytes | Path]
    kept: list[str]
    removed: list[str]
    license_id: str | None


@dataclass(frozen=True)
class Published:
    """Where a bundle is now, and how it got there."""

    repo_id: str
    url: str
    commit: str
    private: bool
    plan: Plan


def target(repo_id: str) -> RepoId:
    """Return the repository to publish to.

    Raises:
        UsageError: it is no ``OWNER/NAME``.
    """
    reference = RepoId.parse(repo_id)
    if reference.revision is not None:
        raise UsageError(f"A bundle goes to a repository, not to a revision of it: {reference.repo_id}")
    return reference


def check(bundle: Bundle) -> None:
    """See that a bundle can be published: every file of it is whole, and the Hub reads its card.

    Raises:
        BundleError: it is a lone ``.onnx``, or a file is missing or altered.
        HubError: the head of its card is no YAML.
    """
    if bundle.is_lone_onnx:
        message = f"{bundle.path} is a lone .onnx: a bundle is a folder with a card and weights."
        raise BundleError(message, hint="Publish the folder that it was exported into.")
    bundle.verify()
    if card := Card.of(bundle):
        card.check()


def look(reference: RepoId, listener: FilesListener, patience: Patience) -> Repository | None:
    """Return what a repository holds, or ``None`` where there is none that this user may see.

    Raises:
        HubError: the Hub does not answer, or the repository holds something that is no bundle.
    """
    try:
        snapshot = look_up(reference, listener, patience)
    except NoRepositoryError:
        return None
    with scratch_folder("publish") as folder:
        listed = _listed_there(snapshot, folder, listener, patience)
        if CARD not in snapshot.files:
            return Repository(snapshot, listed, None)
        require_small(snapshot, CARD)
        path = folder / CARD
        fetch(snapshot.files[CARD].at(snapshot.source), path, listener, patience=patience)
        card = Card(path.read_bytes(), corrected=True)
        unchanged = card.listed()["sha256"] == listed.get(CARD, {}).get("sha256")
        return Repository(snapshot, listed, Card(card.content, corrected=not unchanged))


def plan(bundle: Bundle, there: Repository | None, license_id: str | None = None) -> Plan:
    """Return what publishing a bundle does to a repository.

    Args:
        bundle: a folder, after :func:`check`.
        there: the repository; ``None`` for a new one.
        license_id: the licence that the card is to state.

    Raises:
        HubError: the head of a card is no YAML.
    """
    before, held = (there.listed, there.snapshot.files.keys()) if there else ({}, set())
    listed = {name: entry for name, entry in bundle.section["files"].items() if name not in MACHINE_BOUND}
    same = {name: entry for name, entry in entries_left_out(bundle).items() if before.get(name) == entry}
    sent: dict[str, bytes | Path] = {name: bundle.path / name for name in sorted(listed) if name != CARD}
    card_there = there.card if there else None
    card = card_to_have(Card.of(bundle), card_there, license_id)
    if card is not None and not card.corrected:
        listed[CARD] = card.listed()
    if card is not None and (card_there is None or card.content != card_there.content):
        sent[CARD] = card.content
    sent[CONFIG] = _description(bundle, listed | same)
    removed = before.keys() - listed.keys() - same.keys() - {CARD}
    return Plan(sent, sorted(held - sent.keys() - removed), sorted(removed), card.license_id if card else None)


def publish(
    bundle: Bundle,
    repo_id: str,
    listener: FilesListener,
    patience: Patience,
    *,
    private: bool,
    message: str,
    prune: bool = False,
    license_id: str | None = None,
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
        prune: remove what the version there has and this one lacks.
        license_id: the licence that the card is to state.
        progress: let the Hub's client draw its progress on stderr.

    Raises:
        BundleError: the bundle is not whole.
        HubError: the head of its card is no YAML, there is no token, it may not do that, the repository holds something
            else, or files of it that ``prune`` would remove.
    """
    reference = target(repo_id)
    check(bundle)
    api = client(progress=progress)
    if not has_token():
        raise HubError("Publishing needs a token of the Hub that may write.", hint=TOKEN)
    with explained(reference):
        api.create_repo(repo_id, private=private or None, exist_ok=True)
    there = look(reference, listener, patience)
    if there is None:
        raise HubError(f"The Hub has just made {repo_id}, and does not find it.", hint="Try again in a minute.")
    if private and not there.snapshot.private:
        message = f"{repo_id} exists and is public: nothing was uploaded."
        hint = f"Make it private in its settings ({there.snapshot.url}/settings), or choose another name."
        raise HubError(message, hint=hint)
    planned = plan(bundle, there, license_id)
    if planned.removed and not prune:
        raise HubError(
            f"{repo_id} has files that this bundle lacks: {', '.join(planned.removed)}. Nothing was uploaded.",
            hint="If they are of this model, fetch or export them first (flowers download model … --all); otherwise"
            " have them removed: --prune",
        )
    with explained(reference), warnings.catch_warnings():
        # The client's way of sending large files is one that its HTTP library warns of.
        warnings.simplefilter("ignore", DeprecationWarning)
        done = api.create_commit(
            repo_id, _operations(planned), commit_message=message, parent_commit=there.snapshot.commit
        )
    return Published(repo_id, there.snapshot.url, done.oid, there.snapshot.private, planned)


def _description(bundle: Bundle, files: dict[str, Any]) -> bytes:
    section = {key: value for key, value in without_local_paths(bundle.section).items() if key != "origin"}
    exports = {name: value for name, value in section.get("exports", {}).items() if name not in MACHINE_BOUND}
    return to_json({**bundle.config, "flowers": {**section, "exports": exports, "files": files}}).encode()


def _operations(planned: Plan) -> list[CommitOperationAdd | CommitOperationDelete]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    added = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in planned.sent.items()]
    return [*added, *(CommitOperationDelete(path_in_repo=name) for name in planned.removed)]


def _listed_there(snapshot: Snapshot, folder: Path, listener: FilesListener, patience: Patience) -> dict[str, Any]:
    """Return what the bundle of a repository lists of the files there; refuse something that is no bundle."""
    held = sorted(snapshot.files.keys() - {MADE_BY_THE_HUB, CARD})
    if not held:
        return {}
    try:
        files = read_description(snapshot, folder, listener, patience).section["files"]
    except (HubError, BundleError) as error:
        message = f"{snapshot.source.repo_id} holds something else ({', '.join(held[:3])}): nothing was uploaded."
        raise HubError(message, hint="Choose another name, or delete what is there.") from error
    return {name: entry for name, entry in files.items() if name in snapshot.files}
