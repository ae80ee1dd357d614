"""How a diagnosis looks: a sign, a word and a colour for each status, so that none of them is needed alone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.text import Text

from flowercli.cli.output import stdout_console
from flowercli.cli.tables import LEAST
from flowercli.doctor.checks import Check, Section, Status

if TYPE_CHECKING:
    from flowercli.doctor.diagnosis import Diagnosis

SIGNS = {Status.OK: "✓", Status.NOTE: "·", Status.WARNING: "!", Status.PROBLEM: "✗"}
PLAIN_SIGNS = {Status.OK: "+", Status.NOTE: "-", Status.WARNING: "!", Status.PROBLEM: "x"}
STYLES = {Status.OK: "green", Status.NOTE: "dim", Status.WARNING: "yellow", Status.PROBLEM: "bold red"}
STATUS_WIDTH, NAME_WIDTH = 11, 16
INDENT = " " * (2 + STATUS_WIDTH + NAME_WIDTH)


def print_section(section: Section) -> None:
    """Print one section."""
    _print(Text(section.title, style="bold"))
    for check in section.checks:
        _print_check(check)
    _print(Text())


def print_verdict(diagnosis: Diagnosis) -> None:
    """Say whether classifying works, and repeat what to type."""
    works = diagnosis.works
    status = Status.OK if works else Status.PROBLEM
    _print(_status(status).append("classifying works" if works else "classifying does not work", style="bold"))
    if diagnosis.to_do:
        _print(Text("To do, in this order:" if not works else "It would be better after:"))
        for fix in diagnosis.to_do:
            _print(Text(f"  {fix}"))


def _print_check(check: Check) -> None:
    line = (
        Text("  ").append_text(_status(check.status)).append(check.name.ljust(NAME_WIDTH)).append(_hanging(check.text))
    )
    _print(line)
    for note in check.notes:
        _print(Text(INDENT + _hanging(note), style="dim"))
    if check.fix:
        wrong = check.status in {Status.WARNING, Status.PROBLEM}
        _print(Text(f"{INDENT}{'Fix' if wrong else 'To change it'}: {check.fix}"))


def _hanging(text: str) -> str:
    """Return text in lines below each other, where a terminal would begin the next one at its edge."""
    console = stdout_console()
    if not console.is_terminal:
        return text
    lines = Text(text).wrap(console, max(LEAST, console.width - len(INDENT)))
    return f"\n{INDENT}".join(line.plain.rstrip() for line in lines)


def _status(status: Status) -> Text:
    return Text(f"{_signs()[status]} {status.value}".ljust(STATUS_WIDTH), style=STYLES[status])


def _signs() -> dict[Status, str]:
    """Return the signs that the terminal's encoding has."""
    try:
        "".join(SIGNS.values()).encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return PLAIN_SIGNS
    return SIGNS


def _print(line: Text) -> None:
    # Unwrapped, so that commands can be copied.
    stdout_console().print(line, soft_wrap=True)
