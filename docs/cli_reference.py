"""Print the CLI reference in Markdown, from the application itself. Run by ``nox -s docs``."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from flowercli.cli.app import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    import typer

HEADER = """# Command-line reference

Written by `python docs/cli_reference.py` from the program's own help. Exit codes and environment variables are in
[Reference](reference.md).
"""


def help_text(*arguments: str) -> str:
    """Return what ``flowers … --help`` prints at a width of 100 columns."""
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "TERMINAL_WIDTH": "100"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "flowercli", *arguments, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


def commands(group: typer.Typer, *names: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, those of groups included, in the order in which help lists them."""
    yield names
    for command in group.registered_commands:
        yield (*names, str(command.name))
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, *names, str(inner.name))


def main() -> None:
    """Print the page."""
    print(HEADER)
    for arguments in commands(build()):
        print(f"## `{' '.join(('flowers', *arguments))}`\n\n```text\n{help_text(*arguments)}\n```\n")


if __name__ == "__main__":
    main()
