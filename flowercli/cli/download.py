"""``flowers download``: datasets, models and backbones into the user's data directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flowercli.cli.download_dataset import dataset
from flowercli.cli.output import note, print_json, print_table, print_text
from flowercli.errors import UsageError

if TYPE_CHECKING:
    from flowercli.installed import Installed

DEFAULT_BACKBONE = "timm/rexnet_150.nav_in1k"
Retries = Annotated[int, typer.Option(min=0, help="Failures in a row that end it.")]
download = typer.Typer(help="Fetch datasets, models and backbones, and keep them for work without a network.")


@download.callback(invoke_without_command=True)
def manage(
    context: typer.Context,
    list_all: Annotated[bool, typer.Option("--list", help="List what is there.")] = False,
    remove: Annotated[str | None, typer.Option(metavar="NAME", help="Delete what has this name.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """Fetch datasets, models and backbones, and keep them for work without a network."""
    given = {"--list": list_all, "--remove": remove is not None, "--json": json_output}
    options = [name for name, value in given.items() if value]
    if options and context.invoked_subcommand is not None:
        hint = f"flowers download {options[0]}{' NAME' if options[0] == '--remove' else ''}"
        if options == ["--json"]:
            hint = f"flowers download {context.invoked_subcommand} … --json"
        raise UsageError(f"{options[0]} does not go with `{context.invoked_subcommand}`: nothing was done.", hint=hint)
    if list_all and remove is not None:
        raise UsageError("--list and --remove are two different questions: give one of them.")
    if context.invoked_subcommand is not None:
        return
    if remove is not None:
        _remove(remove)
    elif list_all or json_output:
        _list(json_output=json_output)
    else:
        typer.echo(context.get_help())


def _list(*, json_output: bool) -> None:
    from dataclasses import asdict

    from flowercli import installed

    entries = installed.installed()
    unfinished = installed.unfinished()
    if json_output:
        listed = [asdict(entry) | {"path": str(entry.path)} for entry in entries]
        print_json({"installed": listed, "unfinished": unfinished})
        return
    if entries:
        rows = [(e.name, e.kind, f"{e.size / 1e6:.1f} MB", e.revision or "", e.source, str(e.path)) for e in entries]
        print_table(
            ("Name", "Kind", "Size", "Revision", "From", "Where"),
            rows,
            left=("Kind", "Revision"),
            paths=("From", "Where"),
        )
    else:
        note("Nothing is there yet. The flower photographs: flowers download dataset")
    if unfinished:
        note(f"Unfinished downloads take {unfinished / 1e6:.1f} MB; the same commands go on, --remove NAME gives up.")


def _remove(name: str) -> None:
    from flowercli import installed

    gone, unfinished = installed.remove(name)
    for entry in gone:
        if entry.where:
            note(f"Forgot the {entry.kind} {entry.name}; its folder was left as it is: {entry.where}")
        else:
            note(f"Removed the {entry.kind} {entry.name} ({entry.size / 1e6:.1f} MB).")
    if unfinished:
        note(f"Removed what had arrived of an unfinished download of {name} ({unfinished / 1e6:.1f} MB).")


download.command("dataset")(dataset)


@download.command("model")
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
    from flowercli.hub.client import patience
    from flowercli.hub.downloads import download_model, left_out
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


@download.command("backbone")
def backbone(
    name: Annotated[
        str, typer.Argument(help="A timm model with its tag, as tf_efficientnet_lite0.in1k; or OWNER/NAME.")
    ] = DEFAULT_BACKBONE,
    retries: Retries = 5,
    json_output: Annotated[bool, typer.Option("--json", help="Print where it is, and what, as JSON.")] = False,
) -> None:
    """Fetch the ImageNet weights that training starts from, so that `flowers train` needs no network."""
    from flowercli.cli.download_progress import downloading
    from flowercli.hub.client import patience
    from flowercli.hub.downloads import backbone_reference, download_backbone

    with downloading() as progress:
        entry = download_backbone(backbone_reference(name), progress, patience(retries))
    note(f"{entry.name} at commit {entry.revision}. `flowers train` starts from it whenever it trains this network:")
    note(f"flowers train --data DIR model.name={entry.name.rpartition('/')[2]}")
    _print(entry, json_output=json_output)


def _print(entry: Installed, *, json_output: bool) -> None:
    from dataclasses import asdict

    if json_output:
        print_json(asdict(entry) | {"path": str(entry.path)})
    else:
        # The one line of data: where it is.
        print_text(entry.path)
