"""How things are printed: data to stdout, everything else to stderr; nothing unseen that others wrote."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli import json_text, shown
from flowercli.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_IN_A_PIPE = 160
# Of what --json prints: one more when a name goes or comes to mean something else; a new name changes nothing.
JSON_VERSION = 1
STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


@cache
def stdout_console() -> Console:
    """Return rich's console for data."""
    from flowercli.cli.console import SafeConsole

    # No emoji: a path may well hold `:x:`. A pipe has no width: what is printed there is as wide as it needs to be.
    return SafeConsole(highlight=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH_IN_A_PIPE)


@cache
def stderr_console() -> Console:
    """Return rich's console for progress, notes and warnings; one that cannot be written to stops nothing."""
    from flowercli.cli.console import SafeConsole

    return SafeConsole(stderr=True, highlight=False, emoji=False)


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


def print_text(text: object) -> None:
    """Print a line of data on stdout, such as a path: as it is for a program, safe to see on a terminal."""
    line = str(text)
    sys.stdout.write((shown.one_line(line) if sys.stdout.isatty() else line) + "\n")


def print_json(value: Mapping[str, Any]) -> None:
    """Print what a command found: one JSON object on one line of stdout, which begins with the version of its form."""
    sys.stdout.write(json_line({"version": JSON_VERSION, **value}))


def json_line(value: Any) -> str:
    r"""Return a JSON document as a line that stdout can encode.

    On Linux a file name may be any bytes. What is no text in it stands as ``\udcXX``, as Python holds it: the line is
    valid UTF-8 then, and ``os.fsencode`` gives the bytes back.
    """
    text = json_text.dumps(value)
    try:
        text.encode(sys.stdout.encoding or "utf-8", "strict")
    except UnicodeEncodeError:
        text = json_text.dumps(value, ascii_only=True)
    return shown.json_line(text) + "\n"


def mend_streams() -> None:
    """Give this process the streams that it was started without, as by ``2>&-``: they lead nowhere.

    Otherwise the next file that is opened would get the number of the missing one, and Python has nothing to write to.
    """
    for number, (name, mode) in enumerate(STREAMS):
        if getattr(sys, name) is not None:
            continue
        with suppress(OSError):
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number and not _is_open(number):
                os.dup2(opened, number)
                os.close(opened)
                opened = number
            setattr(sys, name, os.fdopen(opened, mode))


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def encode_all() -> None:
    """Let stdout and stderr print every character, as an escape where their encoding has none for it.

    And all of it: Python drops what a pipe that another program made non-blocking does not take at once.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            with suppress(OSError, AttributeError):  # Windows has none such.
                os.set_blocking(stream.fileno(), True)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    left: Sequence[str] = (),
    paths: Sequence[str] = (),
    console: Console | None = None,
) -> None:
    """Print a table as :func:`flowercli.cli.tables.fitted` makes it, on stdout by default."""
    from flowercli.cli.tables import fitted

    console = console or stdout_console()
    console.print(fitted(columns, rows, console.width, title=title, left=left, paths=paths), markup=False)


def check_target(option: str, file: Path, example: str) -> None:
    """Find what would keep a file from being written, before the work whose result it would hold.

    Args:
        option: that names it.
        file: the file.
        example: of its name.

    Raises:
        UsageError: its folder is not there or may not be written to, or it is a folder itself.
    """
    if file.is_dir():
        hint = f"Name a file: {option} {shown.in_shell(file / example)}"
        raise UsageError(f"{option} {file} is a folder.", hint=hint)
    if not file.parent.is_dir():
        hint = f"mkdir -p {shown.in_shell(file.parent)}"
        raise UsageError(f"{option} {file}: there is no folder {file.parent}.", hint=hint)
    if not os.access(file.parent, os.W_OK):
        message = f"{option} {file}: writing into {file.parent} is not permitted."
        raise UsageError(message, hint="Choose a folder that you may write to.")
