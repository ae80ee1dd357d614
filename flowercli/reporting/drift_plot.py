"""The figure of ``flowers drift``: each feature in the reference and in the log, and how it went over time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.atomic import write_bytes, write_text
from flowercli.inference.classifier import in_words
from flowercli.monitoring.drift import LARGE_INDEX, MODERATE_INDEX, Comparison, Feature
from flowercli.reporting.plot_files import png, svg
from flowercli.reporting.plot_style import (
    COLOURS,
    INK,
    MUTED,
    PAPER,
    SMALL_SIZE,
    TEXT_SIZE,
    in_percent,
    label,
    new_figure,
    series,
    style_axes,
    style_text,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from flowercli.monitoring.history import Verdict

WIDTH, PANEL, LINE, TIMELINE = 8.6, 1.0, 0.3, 2.6
BAR = 0.38
# Pairs of bars in a panel: of more classes, those that have changed most.
MOST_BARS = 12
REFERENCE, LOG = COLOURS[6], COLOURS[0]


def write_plot(verdict: Verdict, path: Path) -> None:
    """Draw the comparison into a file, SVG or PNG by its suffix."""
    figure = drift_figure(verdict)
    if path.suffix == ".svg":
        write_text(path, svg(figure))
    else:
        write_bytes(path, png(figure))


def drift_figure(verdict: Verdict) -> Figure:
    """Return the figure: overview and a panel a feature, two in a row; below, the windows if there are several."""
    comparison = verdict.now.comparison
    features = [_most_changed(feature) for feature in comparison.features]
    lines = [len(features), *(len(feature.bins) for feature in features)]
    heights = [PANEL + LINE * max(lines[start : start + 2]) for start in range(0, len(lines), 2)]
    heights += [TIMELINE] if verdict.earlier else []
    said = f"{comparison.answers} answers of {label(verdict.model)} against its validation photographs"
    figure = new_figure(f"{said}: {comparison.verdict}", sum(heights) + 0.7, WIDTH)
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    _overview(figure.add_subplot(grid[0, 0]), comparison)
    for position, feature in enumerate(features, start=1):
        _bars(figure.add_subplot(grid[divmod(position, 2)]), feature)
    if features:
        _legend(figure)
    if verdict.earlier:
        _timeline(figure.add_subplot(grid[-1, :]), verdict)
    return figure


def _legend(figure: Figure) -> None:
    handles, labels = figure.axes[1].get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower left", ncols=2, frameon=False)
    style_text(legend.get_texts(), size=SMALL_SIZE, colour=INK)


def _overview(axes: Axes, comparison: Comparison) -> None:
    """Draw the index of each feature with its interval, and the usual limits."""
    features = comparison.features
    for position, feature in enumerate(features):
        sign = series(0)
        axes.plot([feature.low, feature.high], [position, position], color=sign.colour, linewidth=2)
        axes.plot(
            [feature.index], [position], color=sign.colour, marker=sign.marker, markeredgecolor=PAPER, clip_on=False
        )
    _limits(axes, vertical=True)
    axes.set_yticks(range(len(features)), [feature.name for feature in features])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    style_axes(axes, "population stability index, 95 % interval", "")
    _title(axes, "How much has changed")


def _most_changed(feature: Feature) -> Feature:
    """Return a feature with as many bins as a panel holds, in their order."""
    if len(feature.bins) <= MOST_BARS:
        return feature
    pairs = list(zip(feature.bins, feature.reference, feature.current, strict=True))
    limit = sorted((abs(now - before) for _, before, now in pairs), reverse=True)[MOST_BARS - 1]
    kept = [pair for pair in pairs if abs(pair[2] - pair[1]) >= limit][:MOST_BARS]
    bins, reference, current = (list(column) for column in zip(*kept, strict=True))
    name = f"{feature.name}, {MOST_BARS} of {len(pairs)}"
    return replace(feature, name=name, bins=bins, reference=reference, current=current)


def _bars(axes: Axes, feature: Feature) -> None:
    """Draw the shares of the bins, one pair of bars a bin; the log's are hatched, so colour is not the only sign."""
    places = range(len(feature.bins))
    before = [place - BAR / 2 for place in places]
    now = [place + BAR / 2 for place in places]
    axes.barh(before, feature.reference, BAR, color=REFERENCE, label="validation photographs")
    axes.barh(now, feature.current, BAR, color=LOG, hatch="////", edgecolor=PAPER, linewidth=0, label="log")
    axes.set_yticks(places, [label(in_words(name)) for name in feature.bins])
    axes.invert_yaxis()
    style_axes(axes, "share", "")
    in_percent(axes, x=True)
    _title(axes, f"{feature.name}: {feature.verdict}")


def _timeline(axes: Axes, verdict: Verdict) -> None:
    """Draw the index of each feature in each window, oldest first."""
    windows = [*verdict.earlier, verdict.now]
    names = [feature.name for feature in verdict.now.comparison.features]
    for position, name in enumerate(names):
        sign = series(position)
        values = [_index(window.comparison.features, name) for window in windows]
        numbers = range(1, len(windows) + 1)
        axes.plot(
            numbers, values, color=sign.colour, marker=sign.marker, linestyle=sign.dashes, label=name, clip_on=False
        )
    _limits(axes, vertical=False)
    style_axes(axes, f"window of {verdict.now.comparison.answers} answers, the latest last", "stability index")
    axes.set_ylim(bottom=0)
    whole_numbers(axes)
    _title(axes, "Over time")
    legend = axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    style_text(legend.get_texts(), size=SMALL_SIZE, colour=INK)


def _index(features: list[Feature], name: str) -> float:
    return next((feature.index for feature in features if feature.name == name), float("nan"))


def _limits(axes: Axes, *, vertical: bool) -> None:
    """Draw where a change is usually called moderate, and large."""
    for limit, dashes in ((MODERATE_INDEX, (0, (2, 2))), (LARGE_INDEX, (0, (6, 2)))):
        line = axes.axvline if vertical else axes.axhline
        line(limit, color=MUTED, linestyle=dashes, linewidth=1)


def _title(axes: Axes, text: str) -> None:
    style_text([axes.set_title(text, loc="left")], size=TEXT_SIZE, colour=INK, weight="bold")
