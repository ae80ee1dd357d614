"""Print the CLI reference in Markdown, from the application itself. Run by ``nox -s docs``."""

from __future__ import annotations

import os
import subprocess
import sys

COMMANDS = ("classify", "doctor", "split", "train", "track", "eval", "export")
HEADER = """# Command-line reference

Written by `python docs/cli_reference.py` from the program's own help. Exit codes: 0 done; 1 failed; 2 usage;
3 some inputs were bad; 4 an extra is missing; 130 interrupted.
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


def main() -> None:
    """Print the page."""
    print(HEADER)
    for arguments in ((), *((name,) for name in COMMANDS)):
        print(f"## `{' '.join(('flowers', *arguments))}`\n\n```text\n{help_text(*arguments)}\n```\n")


if __name__ == "__main__":
    main()
