"""``flowers download model`` and ``backbone``: from the Hub, pinned to a commit, a bundle's files held to its list."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli import json_text
from flowercli.atomic import write_text
from flowercli.bundle import (
    CARD,
    CONFIG,
    EMBEDDINGS,
    MANIFEST,
    MANIFEST_PARQUET,
    PORTABLE,
    REFERENCE,
    WEIGHTS,
    Bundle,
    describe,
    to_json,
)
from flowercli.errors import BundleError, HubError, UsageError
from flowercli.hub.client import is_offline
from flowercli.hub.install import exclusive, install, partial_folder
from flowercli.hub.repo_id import RepoId
from flowercli.hub.snapshot import HubFile, Snapshot, look_up, require_small
from flowercli.installed import Installed, find
from flowercli.plain_file import read_plain_file
from flowercli.transfer.fetch import fetch

if TYPE_CHECKING:
    from flowercli.transfer.contract import FilesListener, Patience


PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")

OWNER = "timm"


def download_model(reference: RepoId, listener: FilesListener, patience: Patience, *, everything: bool) -> Installed:
    """Fetch a bundle, unless that commit of it is there already.

    Args:
        reference: the repository, and a revision of it.
        listener: told of the progress.
        patience: retries and timeouts.
        everything: fetch weights and fp32 graph too, not only what answering needs.

    Raises:
        DownloadError: it cannot be fetched, is no bundle, or is not what its own list says.
    """
    here = find("model", reference.repo_id)
    no_need_to_ask = here is not None and reference.revision in (None, here.revision)
    if here and no_need_to_ask and (reference.is_commit or is_offline()) and is_whole(here, everything=everything):
        return here
    snapshot = look_up(reference, listener, patience)
    with exclusive("model", reference, listener):
        here = find("model", reference.repo_id)
        if here is not None and here.revision == snapshot.commit and is_whole(here, everything=everything):
            return here
        return _install(snapshot, listener, patience, everything=everything)


def is_whole(entry: Installed, *, everything: bool) -> bool:
    """Whether a downloaded bundle is as its list says, and has all that is wanted of it."""
    try:
        bundle = Bundle.load(entry.path)
        bundle.verify()
    except BundleError:
        return False
    return not (everything and left_out(bundle))


def left_out(bundle: Bundle) -> list[str]:
    """Return the files of a downloaded bundle that stayed at the Hub."""
    origin = bundle.section.get("origin", {})
    return [name for name in origin.get("left_out", ()) if name not in bundle.section["files"]]


def entries_left_out(bundle: Bundle) -> dict[str, Any]:
    """Return what the bundle at the Hub lists of the files that stayed there; downloads made before did not keep it."""
    stayed = bundle.section.get("origin", {}).get("left_out", ())
    return {name: stayed[name] for name in left_out(bundle)} if isinstance(stayed, dict) else {}


def _install(snapshot: Snapshot, listener: FilesListener, patience: Patience, *, everything: bool) -> Installed:
    bundle = read_description(snapshot, partial_folder("model", snapshot.source), listener, patience)
    listed = _listed(bundle)
    # People correct it at the Hub, or remove it.
    card = {CARD: snapshot.files[CARD]} if CARD in listed and CARD in snapshot.files else {}
    listed = {name: file for name, file in listed.items() if name != CARD} | card
    names = set(listed) if everything else _for_answers(listed)
    kept = {name: entry for name, entry in bundle.section["files"].items() if name in names}
    origin = {
        "repo_id": snapshot.source.repo_id,
        "commit": snapshot.commit,
        "left_out": {name: bundle.section["files"][name] for name in sorted(set(listed) - names)},
    }
    section = {**bundle.section, "files": kept, "origin": origin}

    def finish(folder: Path) -> None:
        write_text(folder / CONFIG, to_json({**bundle.config, "flowers": section}))

    return install("model", snapshot, [listed[name] for name in sorted(names)], listener, patience, finish)


def read_description(snapshot: Snapshot, folder: Path, listener: FilesListener, patience: Patience) -> Bundle:
    """Return what a repository says that it is; its ``path`` is the repo id.

    Args:
        snapshot: the repository at a commit.
        folder: where its description may be put while it arrives.
        listener: told where there is something to wait for.
        patience: retries and timeouts.

    Raises:
        HubError: it is no bundle.
        BundleError: it is a damaged one, or of another format.
    """
    repo_id = snapshot.source.repo_id
    if CONFIG not in snapshot.files:
        raise HubError(f"{repo_id} is no model of flowers: it has no {CONFIG}.")
    require_small(snapshot, CONFIG)
    arrived = folder / f".{CONFIG}"
    fetch(snapshot.files[CONFIG].at(snapshot.source), arrived, listener, patience=patience)
    try:
        text = read_plain_file(arrived)
    except ValueError as error:
        raise HubError(f"{repo_id} is no model of flowers: its {CONFIG} cannot be read: {error}.") from error
    finally:
        arrived.unlink()
    said = _parse(text)
    if "flowers" not in said and {"architecture", "pretrained_cfg"} <= said.keys():
        hint = f"To start a training from it: flowers download backbone {repo_id}"
        raise HubError(f"{repo_id} is a timm model, not a flowers bundle.", hint=hint)
    if "flowers" not in said:
        raise HubError(f"{repo_id} is no model of flowers: its {CONFIG} does not describe one.")
    return Bundle.from_text(text, Path(repo_id))


def _parse(text: str) -> dict[str, Any]:
    try:
        said = json_text.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _listed(bundle: Bundle) -> dict[str, HubFile]:
    """Return the files that a bundle lists after checking that they may be written where bundles lie."""
    files: dict[str, HubFile] = {}
    for name, entry in bundle.section["files"].items():
        known = isinstance(entry, dict) and isinstance(entry.get("size"), int)
        if (
            not known
            or not PLAIN_NAME.fullmatch(name)
            or name == CONFIG
            or not SHA256.fullmatch(str(entry.get("sha256")))
        ):
            raise HubError(
                f"{bundle.path} describes its file '{name}' in a way that cannot be right. Nothing was fetched."
            )
        files[name] = HubFile(name, entry["size"], entry["sha256"])
    return files


def _for_answers(listed: dict[str, HubFile]) -> set[str]:
    """Return the files that ``classify`` needs, with card, split and reference; all of them if there is no ONNX."""
    graph = next((name for name in PORTABLE if name in listed), None)
    return (
        set(listed) if graph is None else {graph, CARD, MANIFEST, MANIFEST_PARQUET, REFERENCE, EMBEDDINGS} & set(listed)
    )


def backbone_reference(name: str) -> RepoId:
    """Return the repository of a backbone: ``OWNER/NAME``, or one of timm's models by its name alone.

    Raises:
        UsageError: it is no repo id, or a name without the tag that says which weights.
    """
    if "/" not in name and "." not in name:
        hint = f"As tf_efficientnet_lite0.in1k. Its tags: https://huggingface.co/{OWNER}?search_models={name}"
        raise UsageError(f"'{name}' does not say which weights: it has no tag.", hint=hint)
    return RepoId.parse(name if "/" in name else f"{OWNER}/{name}")


def download_backbone(reference: RepoId, listener: FilesListener, patience: Patience) -> Installed:
    """Fetch a backbone's weights, unless that commit of them is there already.

    Raises:
        DownloadError: they cannot be fetched, or the repository has none that training can use.
    """
    here = find("backbone", reference.repo_id)
    if here is not None and is_offline() and reference.revision in (None, here.revision) and _is_whole(here):
        return here
    snapshot = look_up(reference, listener, patience)
    missing = [name for name in (CONFIG, WEIGHTS) if name not in snapshot.files]
    if missing:
        hint = f"timm's models have both: {snapshot.url.removesuffix(reference.repo_id)}{OWNER}"
        raise HubError(f"{reference.repo_id} is no backbone: it has no {missing[0]}.", hint=hint)
    require_small(snapshot, CONFIG)
    with exclusive("backbone", reference, listener):
        here = find("backbone", reference.repo_id)
        if here is not None and here.revision == snapshot.commit and _is_whole(here):
            return here
        files = [snapshot.files[name] for name in (CONFIG, WEIGHTS)]
        return install("backbone", snapshot, files, listener, patience)


def _is_whole(entry: Installed) -> bool:
    weights = entry.path / WEIGHTS
    return weights.is_file() and entry.sha256 in (None, describe(weights)["sha256"])
