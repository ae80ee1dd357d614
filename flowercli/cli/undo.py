"""``flowers undo``: take back what ``flowers classify`` sorted into folders, and what ``flowers tag`` wrote."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from flowercli.cli.output import note, warn
from flowercli.errors import EXIT_FAILED
from flowercli.shown import one_line


def undo(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="LIST", exists=True, dir_okay=False, help="undo-….jsonl of the sorted or tagged folder."
        ),
    ],
) -> None:
    """Take back what `classify --copy-to`, `--move-to` or `tag` did: pictures and sidecars are what they were.

    Nothing is overwritten, and copies and sidecars that somebody changed stay. What cannot be brought back is listed,
    and stays in the list's folder.
    """
    take_back(file)


def take_back(file: Path, *, only_sidecars: bool = False) -> None:
    """Take back what a list says was done, whichever command did it, and say what came of it.

    Args:
        file: the list.
        only_sidecars: refuse the list of another command.

    Raises:
        DataError: it is no such list.
        Exit: something could not be brought back.
    """
    from flowercli.data import sorting
    from flowercli.data.undo_list import kind_of
    from flowercli.tagging import receipt

    waiting = partial(note, f"Another run is at work in {one_line(str(file.parent))}: waiting for its end.")
    is_receipt = only_sidecars or kind_of(file) == receipt.TAGGED
    undone = (receipt if is_receipt else sorting).undo(file, waiting)
    for path, why in undone.left:
        warn(f"{one_line(path)} stays: {one_line(why)}.")
    note(f"{undone.files} taken back, {len(undone.left)} left.")
    if undone.left:
        raise typer.Exit(EXIT_FAILED)
