"""``flowers download``: datasets, models and backbones into the user's data directory."""

from __future__ import annotations

from typing import Annotated

import typer

from flowercli.cli.download_model import backbone, model

download = typer.Typer(help="Fetch datasets, models and backbones, and keep them for work without a network.")


@download.callback(invoke_without_command=True)
def manage(
    context: typer.Context,
    list_all: Annotated[bool, typer.Option("--list", help="List what is there.")] = False,
    remove: Annotated[str | None, typer.Option(metavar="NAME", help="Delete what has this name.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """Fetch datasets, models and backbones, and keep them for work without a network."""
    from dataclasses import asdict

    from flowercli import installed
    from flowercli.cli.output import note, print_json, print_table

    if context.invoked_subcommand is not None:
        return
    if remove is not None:
        for entry in installed.remove(remove):
            note(f"Removed the {entry.kind} {entry.name} ({entry.size / 1e6:.1f} MB).")
    elif list_all:
        entries = installed.installed()
        if json_output:
            print_json({"installed": [asdict(entry) | {"path": str(entry.path)} for entry in entries]})
            return
        rows = [(e.name, e.kind, f"{e.size / 1e6:.1f} MB", e.revision or "", e.source, str(e.path)) for e in entries]
        print_table(("Name", "Kind", "Size", "Revision", "From", "Where"), rows, left=("Kind", "From", "Where"))
    else:
        typer.echo(context.get_help())


download.command("model")(model)
download.command("backbone")(backbone)
