"""``flowers download backbone``: the ImageNet weights that training starts from, where ``flowers train`` finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowercli.bundle import CONFIG, WEIGHTS, describe
from flowercli.errors import HubError, UsageError
from flowercli.hub.client import is_offline
from flowercli.hub.install import exclusive, install
from flowercli.hub.repo_id import RepoId
from flowercli.hub.snapshot import look_up, require_small
from flowercli.installed import Installed, find

if TYPE_CHECKING:
    from flowercli.transfer.contract import FilesListener, Patience

OWNER = "timm"


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
