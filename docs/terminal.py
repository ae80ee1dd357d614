"""Type a line on a terminal of 80 columns, and keep what stands on it at the end, as a reader would see it."""

from __future__ import annotations

import os
import pty
import re
import signal
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COLUMNS, ROWS = 80, 200
SECONDS = 600
# A sequence that styles or moves, a character that moves, or text.
PARTS = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\].*?(?:\x07|\x1b\\)|([\r\n\x08])|([^\x1b\r\n\x08]+)", re.DOTALL)


class Screen:
    """A grid of characters with their styles, and the few movements that progress bars make."""

    def __init__(self) -> None:
        self.rows: list[list[tuple[str, str]]] = [[]]
        self.row = self.column = 0
        self.style = ""

    def write(self, said: str) -> None:
        """Take what a program printed."""
        for argument, verb, control, text in PARTS.findall(said):
            if text:
                self._put(text)
            elif control == "\n":
                self.row += 1
                self.rows += [[] for _ in range(self.row + 1 - len(self.rows))]
            elif control:
                self.column = 0 if control == "\r" else max(self.column - 1, 0)
            elif verb == "m":
                self.style = "" if argument in ("", "0") else f"{self.style}\x1b[{argument}m"
            else:
                self._move(argument, verb)

    def _put(self, text: str) -> None:
        for character in text:
            if self.column == COLUMNS:  # The terminal breaks the line.
                self.write("\r\n")
            row = self.rows[self.row]
            row += [(" ", "")] * (self.column + 1 - len(row))
            row[self.column] = (character, self.style)
            self.column += 1

    def _move(self, argument: str, verb: str) -> None:
        if verb == "K":
            self.rows[self.row] = [] if argument == "2" else self.rows[self.row][: self.column]
        elif verb == "A":
            self.row = max(self.row - int(argument or 1), 0)

    def text(self, *, styled: bool = False) -> str:
        """Return what stands there, with the styles if asked for."""
        lines = [
            "".join(f"{style}{sign}\x1b[0m" if styled and style else sign for sign, style in row) for row in self.rows
        ]
        return "\n".join(line.rstrip() for line in lines).strip("\n")


class Terminal:
    """A folder, variables, what is shown in place of what is of this machine, and programs that are left running."""

    def __init__(self, folder: Path, variables: Mapping[str, str], shown_as: Mapping[str, str]) -> None:
        self.shown_as = shown_as
        self.folder, self.variables = folder, {**os.environ, **variables, "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
            self.variables.pop(name, None)
        self.running: list[tuple[int, int]] = []

    def type(self, line: str, *, until: str | None = None) -> Screen:
        """Type a line and return the screen when the program has ended; or when it has said ``until``, and goes on.

        What the line gives to shell variables in capitals, later lines find.

        Raises:
            RuntimeError: it has not said it, or does not end.
        """
        import fcntl
        import termios

        kept = "touch .variables; . ./.variables; "
        after = "; compgen -v | grep -x BUNDLE'[0-9]*' | while read -r name; do declare -p $name; done > .variables"
        process, terminal = pty.fork()
        if process == 0:
            os.chdir(self.folder)
            script = f"{kept}{line}{'' if until else after}"
            os.execvpe("bash", ["bash", "--norc", "-c", script], self.variables)  # noqa: S606, S607
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        said, started = b"", time.monotonic()
        try:
            while chunk := os.read(terminal, 65536):
                said += chunk
                if until and until.encode() in said:
                    self.running.append((process, terminal))
                    return self._shown(said)
                if time.monotonic() - started > SECONDS:
                    break
        except OSError:  # On Linux the read fails, rather than ends, once the program has closed its side.
            pass
        os.close(terminal)
        os.waitpid(process, 0)
        if until:
            raise RuntimeError(f"{line}: it did not say {until!r}.\n{said.decode(errors='replace')}")
        return self._shown(said)

    def close(self) -> None:
        """End what still runs."""
        for process, terminal in self.running:
            os.killpg(process, signal.SIGTERM)
            os.waitpid(process, 0)
            os.close(terminal)

    def _shown(self, said: bytes) -> Screen:
        screen, text = Screen(), said.decode(errors="replace")
        for ours, theirs in self.shown_as.items():
            text = text.replace(ours, theirs)
        screen.write(text)
        return screen
