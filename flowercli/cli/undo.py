"""``flowers undo``: bring pictures back that ``flowers classify`` sorted into folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flowercli.cli.output import note, warn
from flowercli.errors import EXIT_FAILED
from flowercli.shown import one_line


def undo(
    file: Annotated[
        Path, typer.Argument(metavar="LIST", exists=True, dir_okay=False, help="undo-….jsonl of the sorted folder.")
    ],
) -> None:
    """Take back what `classify --copy-to` or `--move-to` did: pictures go back to where they were.

    Nothing is overwritten, and copies that somebody changed stay. What cannot be brought back is listed, and stays in
    the list's folder.
    """
    from flowercli.data.sorting import undo as take_back

    undone = take_back(file)
    for path, why in undone.left:
        warn(f"{one_line(path)} stays: {one_line(why)}.")
    note(f"{undone.files} taken back, {len(undone.left)} left.")
    if undone.left:
        raise typer.Exit(EXIT_FAILED)
