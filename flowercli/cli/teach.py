"""``flowers teach``: a flower more, or a better idea of one, from a few photographs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from flowercli.cli.options import Model
from flowercli.cli.output import print_json
from flowercli.errors import UsageError
from flowercli.shown import in_shell

DEFAULT_OUTPUT = Path("mine")


def teach(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="What the flower is called.", show_default=False)
    ] = None,
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PHOTOS]...",
            help="Three photographs of it or more: files, folders (with their subfolders), globs.",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Teach several instead: a subfolder a flower, called as it is.")
    ] = None,
    forget: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Take a flower away; can be repeated.", show_default=False),
    ] = None,
    model: Model = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="A new folder for the model that knows it.")
    ] = DEFAULT_OUTPUT,
    json_output: Annotated[bool, typer.Option("--json", help="Print what came of it as JSON.")] = False,
) -> None:
    """Teach a model a flower of your own from three to twenty photographs, in seconds, without torch.

    The model stays as it is; a new one is written that every command takes. Of a flower that it knows already it gets a
    better idea. What is told is measured on photographs that were left out of the teaching in their turn.
    """
    from flowercli.cli.progress import advancing
    from flowercli.cli.teach_report import show
    from flowercli.inference.sources import expand
    from flowercli.models import load_model
    from flowercli.teaching.lesson import lessons_in
    from flowercli.teaching.teach import teach as write_taught

    _check(name, photos or [], folder, forget or [], output)
    wanted: dict[str, list[str]] = {}
    if folder is not None:
        wanted = lessons_in(folder)
    elif name is not None:
        import sys

        wanted = {name: list(expand(photos or [], sys.stdin))}
    with advancing() as advance:
        taught = write_taught(load_model(model), wanted, forget or [], output, advance)
    if json_output:
        print_json(taught.as_dict())
    else:
        show(taught)


def _check(name: str | None, photos: list[str], folder: Path | None, forget: list[str], output: Path) -> None:
    """Refuse before the work what makes no sense, or could not be written after it."""
    if folder is not None and name is not None:
        raise UsageError(
            "Either NAME and PHOTOS, or --folder.", hint="flowers teach --folder DIR   (a subfolder a flower)"
        )
    if name is not None and not photos:
        message = f"Of {name} no photographs are given."
        raise UsageError(message, hint=f"flowers teach {in_shell(name)} PHOTOS   (three or more)")
    if name is None and folder is None and not forget:
        raise UsageError("Nothing is to be taught.", hint="flowers teach NAME PHOTOS   (three photographs or more)")
    if os.path.lexists(output):
        message = f"{output} exists already."
        raise UsageError(message, hint=f"Remove it, or give another folder: --output {in_shell(f'{output}-2')}")
