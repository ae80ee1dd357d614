"""The form of a diagnosis: sections of checks, each with a status and, where there is one, a fix."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from flowercli.errors import FlowersError


class Status(StrEnum):
    """How a check came out; a note is neither good nor bad, as a GPU that is not there."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    ``notes`` are further lines for people, ``values`` the same facts for programs.
    """

    name: str
    status: Status
    text: str
    fix: str | None = None
    notes: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        return asdict(self)


@dataclass(frozen=True)
class Section:
    """Checks that belong together."""

    title: str
    checks: tuple[Check, ...]


def examine(title: str, checks: Callable[[], Iterable[Check]]) -> Section:
    """Make the checks of a section; whatever goes wrong on the way becomes a check that says so.

    A doctor is asked where things are broken in ways that nobody thought of.
    """
    done: list[Check] = []
    try:
        for check in checks():
            done.append(check)  # noqa: PERF402  (what was found before a failure is kept)
    except FlowersError as error:
        done.append(Check(title.lower(), Status.PROBLEM, error.message, error.hint))
    except Exception as error:  # noqa: BLE001  (see above)
        text = f"could not be examined: {type(error).__name__}: {error}"
        done.append(Check(title.lower(), Status.PROBLEM, text, "Report it, with the output of: flowers doctor --json"))
    return Section(title, tuple(done))
