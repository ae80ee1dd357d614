"""How ``flowers drift`` shows its verdict."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from flowercli.cli.output import note, print_table, stdout_console
from flowercli.inference.classifier import in_words
from flowercli.monitoring.drift import DRIFTING, FEWEST, STABLE, Comparison, Feature
from flowercli.shown import counted, percent

if TYPE_CHECKING:
    from flowercli.monitoring.history import Verdict, Window


def show_verdict(verdict: Verdict) -> None:
    """Print the features, earlier windows if there are any, and the verdict in a sentence."""
    comparison = verdict.now.comparison
    if comparison.features:
        title = f"{counted(comparison.answers, 'answer')}, {_span(verdict.now)}, against {verdict.model}"
        columns = ("Feature", "Reference", "Log", "PSI (95 %)", "p", "")
        print_table(columns, [_row(feature) for feature in comparison.features], title=title, left=("",))
    if verdict.earlier:
        windows = [*verdict.earlier, verdict.now]
        rows = [(_span(one), str(one.comparison.answers), _in_words(one.comparison)) for one in windows]
        print_table(("Window", "Answers", ""), rows, left=("",))
    stdout_console().print(f"{comparison.verdict.capitalize()}: {sentence(comparison)}", markup=False, soft_wrap=True)
    if comparison.features:
        note("p: chance of a difference this large without any change, all features together; below 0.05 counts.")


def sentence(comparison: Comparison) -> str:
    """Return what the verdict means, in a sentence."""
    if comparison.verdict == DRIFTING:
        changes = ", ".join(_change(feature) for feature in comparison.changed)
        return f"the pictures or the answers are no longer like those the model was validated on: {changes}."
    if comparison.verdict == STABLE:
        return "nothing has changed by more than chance, and a large change would most likely have been noticed."
    if comparison.needed is None:
        return (
            "the model's validation split is so small that a large change could go unnoticed, however many answers"
            " there are."
        )
    missing = max(comparison.needed, FEWEST) - comparison.answers
    return f"{missing} more answers are needed to notice a large change in four cases of five."


def _row(feature: Feature) -> tuple[str, ...]:
    shown = f"{feature.index:.3f} ({feature.low:.2f}–{feature.high:.2f})"
    return (feature.name, *_typical(feature), shown, f"{feature.adjusted_p:.3f}", feature.verdict)


def _typical(feature: Feature) -> tuple[str, str]:
    """Return the medians, or the share of the class that has changed most."""
    if feature.reference_median is not None and feature.current_median is not None:
        return f"{feature.reference_median:.4g}", f"{feature.current_median:.4g}"
    change = [now - before for before, now in zip(feature.reference, feature.current, strict=True)]
    most = max(range(len(change)), key=lambda position: abs(change[position]))
    name = in_words(feature.bins[most])
    return f"{name} {percent(feature.reference[most], 0)}", f"{name} {percent(feature.current[most], 0)}"


def _change(feature: Feature) -> str:
    before, now = _typical(feature)
    return f"{feature.name} ({before} before, {now} now)"


def _in_words(comparison: Comparison) -> str:
    if comparison.verdict != DRIFTING:
        return comparison.verdict
    return f"{comparison.verdict}: {', '.join(feature.name for feature in comparison.changed)}"


def _span(window: Window) -> str:
    first, last = (dt.datetime.fromtimestamp(moment).astimezone() for moment in (window.first, window.last))
    if first.date() == last.date():
        return f"{first:%Y-%m-%d %H:%M} to {last:%H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"
