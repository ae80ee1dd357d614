"""The list of what a command did to files below a folder, from which all of it can be undone.

It has a JSON object a line, in the order in which things were done, and lies in the folder. No file beyond the folder
is changed or taken from there by it; but a list of moves names where pictures came from, and puts files there. So it is
for whoever made it. A line is written before its file, so that a list is never short of one.
"""

from __future__ import annotations

import json
import os
import time
from array import array
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from flowercli.errors import DataError
from flowercli.plain_file import check_plain
from flowercli.shown import in_shell

T = TypeVar("T")
SUFFIX = ".jsonl"
# Of a line: what a file was before may be in it.
MOST_BYTES = 64 * 2**20


class Undone(NamedTuple):
    """How many files are as they were, and those that could not be brought back, with the reason."""

    files: int
    left: list[tuple[str, str]]


def new_list(folder: Path) -> Path:
    """Return the path of a list that is not there yet."""
    name = f"undo-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    paths = (folder / f"{name}{f'-{number}' * (number > 1)}{SUFFIX}" for number in count(1))
    return next(path for path in paths if not os.path.lexists(path))


def command_to_undo(file: Path) -> str:
    """Return the command that takes back what a list says was done."""
    return f"flowers undo {in_shell(file)}"


def from_the_end(file: Path, parse: Callable[[dict[str, Any], Path], T], what: str) -> Iterator[T]:
    """Yield what the lines of a list say, the last first, when all of them have been looked at.

    Args:
        file: the list.
        parse: makes something of the object of a line, and of the folder of the list.
        what: it is a list of.

    Raises:
        DataError: it is no such list, or names a file that is not below its folder.
    """
    refused = f"{file} is no list of {what}."
    hint = f"Such a list lies in the folder where that was done: undo-…{SUFFIX}"
    folder = file.resolve().parent
    try:
        check_plain(file)
    except ValueError as error:
        raise DataError(refused, hint=hint) from error
    with file.open("rb") as lines:
        places = array("q", [0])
        # A line without an end was being written when all ended: its file was not touched.
        while (line := lines.readline(MOST_BYTES)).endswith(b"\n"):
            try:
                parse(json.loads(line), folder)
            except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
                message = f"{file}, line {len(places)}: it is no list of {what}."
                raise DataError(message, hint=hint) from error
            places.append(lines.tell())
        if len(places) == 1 or len(line) == MOST_BYTES:
            raise DataError(refused, hint=hint)
        for place in reversed(places[:-1]):
            lines.seek(place)
            yield parse(json.loads(lines.readline(MOST_BYTES)), folder)


def kind_of(file: Path) -> str | None:
    """Return what the first line of a list says was done; ``None`` where it says nothing."""
    try:
        check_plain(file)
        with file.open("rb") as lines:
            return str(json.loads(lines.readline(MOST_BYTES))["did"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def below(folder: Path, name: str) -> Path:
    """Return the path of a file that a line names.

    Args:
        folder: that of the list, without links on its way.
        name: the file, relative to it.

    Raises:
        ValueError: it does not lie below the folder, or beyond a link, which may lead anywhere.
    """
    path = folder / name
    if folder not in path.parents or ".." in path.parts or leads_out(folder, path.parent):
        raise ValueError(name)
    return path


def leads_out(folder: Path, below_it: Path) -> bool:
    """Whether a folder below another one is a link, or beyond one, to somewhere else."""
    # Not Path.resolve, which fails at a link to itself.
    return not Path(os.path.realpath(below_it)).is_relative_to(folder)
