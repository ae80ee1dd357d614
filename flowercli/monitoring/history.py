"""The verdict on a log: on the answers asked about, and on each window of them in turn."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercli.errors import LogError, UsageError
from flowercli.monitoring.drift import FEWEST, Comparison, compare
from flowercli.monitoring.features import identity
from flowercli.monitoring.log_file import models_in, read
from flowercli.monitoring.reference import Reference
from flowercli.progress import Advance, untold
from flowercli.shown import in_shell, one_line

if TYPE_CHECKING:
    import numpy.typing as npt

    from flowercli.bundle import Bundle

MOST_WINDOWS = 60
AGO = re.compile(r"(\d+)\s*([smhdw])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Window:
    """Consecutive answers, from and to when, in seconds since 1970, and the verdict on them."""

    first: float
    last: float
    comparison: Comparison


@dataclass(frozen=True)
class Verdict:
    """What is said of a log: the window judged, those before it, oldest first, and what to know about it."""

    model: str
    now: Window
    earlier: list[Window]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return what ``flowers drift --json`` prints."""
        earlier = [_in_short(window) | {"verdict": window.comparison.verdict} for window in self.earlier]
        return {"model": self.model, **_in_short(self.now), **asdict(self.now.comparison), "earlier": earlier}


def judge(
    path: Path, bundle: Bundle, *, since: float = 0.0, window: int | None = None, advance: Advance = untold
) -> Verdict:
    """Compare a log with the reference of a bundle.

    Args:
        path: the log.
        bundle: the model that answered.
        since: seconds since 1970 from which on answers count.
        window: judge the latest so many answers, and those before them in windows of the same size.
        advance: called after each window.

    Raises:
        LogError: there is no such log, it is damaged, or it has no answers of this model.
        BundleError: the bundle has no reference.
        UsageError: the window is too small to judge.
    """
    if window is not None and window < FEWEST:
        raise UsageError(f"--window {window}: at least {FEWEST} answers.")
    notes = _check_model(path, bundle)
    logged = read(path, identity(bundle), since)
    if not len(logged.times):
        raise LogError(f"{path} has no answers since then.", hint="Give an earlier --since, or none.")
    reference = Reference.read(bundle)
    if logged.graphs != (reference.graph,):
        graphs, known = one_line(" and ".join(logged.graphs)), one_line(reference.graph)
        notes.append(f"The answers are of {graphs}, the reference is of {known}: they differ by a little.")
    size = len(logged.times) if window is None else window
    ends = [end for end in range(len(logged.times), 0, -size) if end >= size or end == len(logged.times)]
    windows = []
    for end in reversed(ends[:MOST_WINDOWS]):
        advance("Comparing answers", len(ends[:MOST_WINDOWS]))
        chosen = slice(max(0, end - size), end)
        times: npt.NDArray[Any] = logged.times[chosen]
        comparison = compare(reference, logged.sample.take(chosen), bundle.class_names)
        windows.append(Window(float(times[0]), float(times[-1]), comparison))
    return Verdict(bundle.path.name, windows[-1], windows[:-1], notes)


def parse_since(text: str, now: float) -> float:
    """Return a time in seconds since 1970: ``2026-11-24``, ``2026-11-24T08:00``, or ``7d`` for seven days ago.

    Without a time zone it is local time.

    Raises:
        UsageError: it is neither.
    """
    if ago := AGO.fullmatch(text.strip()):
        return now - int(ago[1]) * SECONDS[ago[2]]
    try:
        return dt.datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError) as error:
        hint = "A date and time like 2026-11-24T08:00, or how long ago: 30m, 12h, 7d, 2w."
        raise UsageError(f"--since {text}: that is no time.", hint=hint) from error


def _check_model(path: Path, bundle: Bundle) -> list[str]:
    """Refuse a log without answers of this model, and return what to say about those of others."""
    found = models_in(path)
    if not found:
        raise LogError(f"{path} has no answers yet.")
    ours = identity(bundle)
    if any(model.class_names != tuple(bundle.class_names) for model in found if model.identity == ours):
        raise LogError(f"The log {path} is damaged: it has other class names than its model.")
    others = [model for model in found if model.identity != ours]
    if len(others) == len(found):
        names = one_line(", ".join(sorted({model.name for model in others})))
        message = f"The answers in {path} are of another model ({names}) than the reference ({bundle.path.name})."
        # A stranger's name in a command that is to be copied.
        name = shlex.quote(one_line(others[-1].name))
        raise LogError(message, hint=f"Name the model that answered: flowers drift {in_shell(path)} --reference {name}")
    count = sum(model.answers for model in others)
    return [f"{count} answers of other models are left out."] if count else []


def _in_short(window: Window) -> dict[str, Any]:
    moments = {"first": window.first, "last": window.last}
    times = {
        name: dt.datetime.fromtimestamp(moment, dt.UTC).isoformat("T", "seconds") for name, moment in moments.items()
    }
    return {**times, "answers": window.comparison.answers}
