"""How things are printed: data to stdout, everything else to stderr."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

WIDTH_IN_A_PIPE = 160
# Unicode categories: control characters, and bytes of a file name that are no text.
UNPRINTABLE = frozenset({"Cc", "Cs"})


@cache
def stdout_console() -> Console:
    """Return rich's console for data."""
    from rich.console import Console

    # No emoji: a path may well hold `:x:`. A pipe has no width: what is printed there is as wide as it needs to be.
    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH_IN_A_PIPE)


@cache
def stderr_console() -> Console:
    """Return rich's console for progress, notes and warnings."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)


def note(message: str) -> None:
    """Say something on stderr that is neither data nor a warning."""
    stderr_console().print(message, style="dim", markup=False, soft_wrap=True)


def warn(message: str) -> None:
    """Warn on stderr."""
    stderr_console().print(f"Warning: {message}", style="yellow", markup=False, soft_wrap=True)


def tell_error(message: str, hint: str | None) -> None:
    """Print an error and what to do about it on stderr, unwrapped, so that commands can be copied."""
    console = stderr_console()
    console.print(f"Error: {message}", style="bold red", markup=False, soft_wrap=True)
    if hint:
        console.print(hint, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON document on one line of stdout."""
    sys.stdout.write(json_line(value))


def json_line(value: Any) -> str:
    r"""Return a JSON document as a line that stdout can encode.

    On Linux a file name may be any bytes. What is no text in it stands as ``\udcXX``, as Python holds it: the line is
    valid UTF-8 then, and ``os.fsencode`` gives the bytes back.
    """
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8", "strict")
    except UnicodeEncodeError:
        text = json.dumps(value)
    return text + "\n"


def one_line(text: str) -> str:
    """Return text with its control characters as escapes: a file name can neither break a row nor steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in UNPRINTABLE else c for c in text)


def encode_all() -> None:
    """Let stdout and stderr print every character, as an escape where their encoding has none for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def progress_bar(description: str) -> Iterator[Progress]:
    """Yield a progress display on stderr that shows nothing where stderr is not a terminal."""
    from rich.progress import MofNCompleteColumn

    with bars(description, MofNCompleteColumn()) as progress:
        yield progress


@contextmanager
def byte_progress() -> Iterator[Progress]:
    """Yield a progress display of bytes on stderr, with speed and time left; nothing where it is not a terminal."""
    from rich.progress import DownloadColumn, TransferSpeedColumn

    with bars("{task.description}", DownloadColumn(), TransferSpeedColumn()) as progress:
        yield progress


def bars(description: str, *columns: ProgressColumn) -> Progress:
    """Return a progress display on stderr, with time left, that shows nothing where stderr is not a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = stderr_console()
    shown = (TextColumn(description), BarColumn(), *columns, TimeRemainingColumn())
    return Progress(*shown, console=console, transient=True, disable=not console.is_terminal)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    left: Sequence[str] = (),
    console: Console | None = None,
) -> None:
    """Print a table, on stdout by default; numbers, that is all columns but the first and ``left``, to the right."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 or column in left else "right")
    for row in rows:
        table.add_row(*row)
    (console or stdout_console()).print(table, markup=False)
