"""``flowers download model`` and ``flowers download backbone``: from the Hub into the user's data directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flowercli.installed import Installed

DEFAULT_BACKBONE = "timm/rexnet_150.nav_in1k"
Retries = Annotated[int, typer.Option(min=0, help="Failures in a row that end it.")]


def model(
    reference: Annotated[
        str,
        typer.Argument(metavar="REPO_ID[@REVISION]", help="OWNER/NAME on the Hub; a branch, tag or commit of it."),
    ],
    everything: Annotated[
        bool, typer.Option("--all", help="Fetch weights and fp32 graph too, which eval and export need.")
    ] = False,
    retries: Retries = 5,
    json_output: Annotated[bool, typer.Option("--json", help="Print where it is, and what, as JSON.")] = False,
) -> None:
    """Fetch a model that someone published, and print the folder it is in.

    Each file is checked against the size and sha256 that the model itself lists. What has arrived of a download that
    was cut short is kept; the same commit is not fetched twice.
    """
    from flowercli.bundle import Bundle
    from flowercli.cli.download_progress import downloading
    from flowercli.cli.output import note
    from flowercli.hub.client import patience
    from flowercli.hub.models import download_model, left_out
    from flowercli.hub.repo_id import RepoId

    with downloading() as progress:
        source = RepoId.parse(reference)
        entry = download_model(source, progress, patience(retries), everything=everything)
    bundle = Bundle.load(entry.path)
    note(f"{entry.name} at commit {entry.revision}: {', '.join(bundle.class_names)}.")
    if more := left_out(bundle):
        note(f"Left at the Hub: {', '.join(more)}; --all fetches them too.")
    note(f"Now: flowers classify PICTURE --model {entry.name}")
    _print(entry, json_output=json_output)


def backbone(
    name: Annotated[
        str, typer.Argument(help="A timm model with its tag, as tf_efficientnet_lite0.in1k; or OWNER/NAME.")
    ] = DEFAULT_BACKBONE,
    retries: Retries = 5,
    json_output: Annotated[bool, typer.Option("--json", help="Print where it is, and what, as JSON.")] = False,
) -> None:
    """Fetch the ImageNet weights that training starts from, so that `flowers train` needs no network."""
    from flowercli.cli.download_progress import downloading
    from flowercli.cli.output import note
    from flowercli.hub.backbones import backbone_reference, download_backbone
    from flowercli.hub.client import patience

    with downloading() as progress:
        entry = download_backbone(backbone_reference(name), progress, patience(retries))
    note(f"{entry.name} at commit {entry.revision}. `flowers train` starts from it whenever it trains this network:")
    note(f"flowers train --data DIR model.name={entry.name.rpartition('/')[2]}")
    _print(entry, json_output=json_output)


def _print(entry: Installed, *, json_output: bool) -> None:
    from dataclasses import asdict

    from flowercli.cli.output import print_json, print_text

    if json_output:
        print_json(asdict(entry) | {"path": str(entry.path)})
    else:
        # The one line of data: where it is.
        print_text(entry.path)
