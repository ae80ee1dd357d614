"""The figures of a run and of an evaluation: pure functions from arrays to matplotlib figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.patches import Rectangle
from sklearn.metrics import average_precision_score, precision_recall_curve

from flowercli.evaluation.intervals import wilson
from flowercli.evaluation.scores import BINS, bin_of
from flowercli.reporting.plot_style import (
    CELL,
    INK,
    MUTED,
    SMALL_SIZE,
    WIDTH,
    in_percent,
    label,
    legend_below,
    new_figure,
    series,
    style_axes,
    style_text,
    whole_numbers,
)
from flowercli.shown import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]
    History = Sequence[Mapping[str, Any]]

# More curves than this cannot be told apart; more cells cannot be read.
MOST_CURVES = 8
MOST_WRITTEN_CLASSES = 15
MOST_LABELLED_CLASSES = 130
# Inches for a class whose cells hold text, for one whose cells are colour alone, and for all.
WRITTEN_CELL, PLAIN_CELL, WIDEST_MATRIX = 0.68, 0.16, 22.0
# Where the axis of an accuracy ends: a point at 1 is seen whole.
MOST_ACCURATE = 1.005
# Ink stays readable on a cell of this opacity, in light and in dark.
STRONGEST_CELL = 0.75


def learning_curves(history: History) -> Figure:
    """Draw the losses, and below them the validation accuracy, over the epochs.

    Args:
        history: for each epoch ``epoch`` and ``loss``, and ``val_loss`` and ``val_accuracy`` or ``None``.
    """
    epochs, accuracies = column(history, "val_accuracy")
    title = "The loss over the epochs"
    if len(epochs):
        best = int(accuracies.argmax())
        title = f"Best validation accuracy: {percent(accuracies[best])}, epoch {epochs[best]:g}"
    figure = new_figure(title, 4.8)
    losses, accuracy = figure.subplots(2, 1, sharex=True)
    style_axes(losses, "", "Loss (nats)")
    style_axes(accuracy, "Epoch", "Accuracy")
    for position, (key, name) in enumerate(
        (("loss", "training, the whole loss"), ("val_loss", "validation, log loss"))
    ):
        _line(losses, *column(history, key), position, name)
    _line(accuracy, epochs, accuracies, 2, "validation, accuracy")
    in_percent(accuracy, y=True)
    accuracy.set_ylim(top=min(accuracy.get_ylim()[1], MOST_ACCURATE))
    whole_numbers(accuracy)
    # Where these curves leave room. Matplotlib's own search for it warns on stderr where a busy machine lets it wait.
    for axes, place in ((losses, "upper right"), (accuracy, "lower right")):
        legend = axes.legend(loc=place, frameon=False, handlelength=3)
        style_text(legend.get_texts(), size=SMALL_SIZE, colour=INK)
    return figure


def learning_rate(history: History) -> Figure:
    """Draw the learning rate at the end of each epoch.

    Args:
        history: for each epoch ``epoch`` and ``learning_rate``.
    """
    figure = new_figure("The learning rate at the end of each epoch", 2.8)
    axes = figure.subplots()
    style_axes(axes, "Epoch", "Learning rate (per step)")
    _line(axes, *column(history, "learning_rate"), 0, "learning rate")
    axes.set_ylim(bottom=0)
    whole_numbers(axes)
    return figure


def column(history: History, key: str) -> tuple[Floats, Floats]:
    """Return the epochs that have a value, and the values."""
    rows = [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
    epochs, values = zip(*rows, strict=True) if rows else ((), ())
    return np.array(epochs, dtype=np.float64), np.array(values, dtype=np.float64)


def confusion_matrix(matrix: Indices, class_names: Sequence[str], chosen: Sequence[int] | None = None) -> Figure:
    """Draw how often each class was given each name, with its share of the class.

    Args:
        matrix: counts ``[C, C]``; rows: what it is, columns: what it was named.
        class_names: by class index.
        chosen: class indices to draw alone.
    """
    right, total = int(np.trace(matrix)), int(matrix.sum())
    title = f"{right:,} of {total:,} photographs are named rightly"
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    if chosen is not None:
        title = f"The {len(chosen)} of {len(class_names)} classes that are confused most"
        class_names = [class_names[index] for index in chosen]
        matrix, shares = (values[np.ix_(chosen, chosen)] for values in (matrix, shares))
    count = len(class_names)
    cell = WRITTEN_CELL if count <= MOST_WRITTEN_CLASSES else PLAIN_CELL
    side = min(max(WIDTH, 1.4 + cell * count), WIDEST_MATRIX)
    figure = new_figure(title, side * 0.92, side)
    axes = figure.subplots()
    style_axes(axes, "Named", "Is")
    axes.grid(visible=False)
    for row, col in np.argwhere(matrix > 0):
        axes.add_patch(
            Rectangle((col - 0.5, row - 0.5), 1, 1, color=CELL, alpha=STRONGEST_CELL * shares[row, col], lw=0)
        )
        if count <= MOST_WRITTEN_CLASSES:
            text = axes.text(col, row, f"{matrix[row, col]}\n{percent(shares[row, col], 0)}", ha="center", va="center")
            style_text([text], size=SMALL_SIZE, colour=INK)
    names = [label(name) for name in class_names] if count <= MOST_LABELLED_CLASSES else []
    slope = 45 if count <= MOST_WRITTEN_CLASSES else 90
    axes.set_xticks(range(len(names)), names, rotation=slope, ha="right", va="center", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    style_text([*axes.get_xticklabels(), *axes.get_yticklabels()], size=SMALL_SIZE, colour=INK)
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
    return figure


def precision_recall(probabilities: Floats, targets: Indices, class_names: Sequence[str]) -> Figure:
    """Draw precision over recall of each class against all others, with its average precision.

    Of many classes only the eight of the lowest average precision are drawn; a class without a photograph has none.

    Args:
        probabilities: ``[N, C]``.
        targets: class indices ``[N]``.
        class_names: by class index.
    """
    scores = average_precisions(probabilities, targets)
    shown = sorted(sorted(scores, key=scores.__getitem__)[:MOST_CURVES])
    what = f"lowest {len(shown)} of {len(scores)} classes" if len(shown) < len(scores) else "each class"
    figure = new_figure(f"Precision, recall: {what}", 4.0)
    axes = figure.subplots()
    style_axes(axes, "Recall (share of the class that is found)", "Precision (share of answers that are right)")
    for position, index in enumerate(shown):
        precision, recall, _ = precision_recall_curve(targets == index, probabilities[:, index])
        signs = series(position)
        name = f"{label(class_names[index])}, AP {percent(scores[index])}"
        (line,) = axes.plot(recall, precision, color=signs.colour, linestyle=signs.dashes, label=name)
        line.set(drawstyle="steps-post", marker=signs.marker, markersize=5, markevery=(0.03 * position, 0.35))
    axes.set(xlim=(-0.01, 1.02), ylim=(-0.01, 1.02))
    in_percent(axes, x=True, y=True)
    legend_below(figure, axes)
    return figure


def average_precisions(probabilities: Floats, targets: Indices) -> dict[int, float]:
    """Return scikit-learn's average precision of each class that has a photograph, by class index."""
    present = [int(index) for index in np.unique(targets)]
    return {index: float(average_precision_score(targets == index, probabilities[:, index])) for index in present}


@dataclass(frozen=True)
class Calibration:
    """Photographs by confidence: counts, mean confidence and accuracy of each of 15 bins; 0 where a bin is empty."""

    counts: Indices
    confidence: Floats
    accuracy: Floats

    @property
    def ece(self) -> float:
        """Expected calibration error (Guo et al., 2017)."""
        return float((self.counts * np.abs(self.confidence - self.accuracy)).sum() / self.counts.sum())


def calibration(probabilities: Floats, targets: Indices) -> Calibration:
    """Sort answers ``[N, C]`` into the bins of :mod:`flowercli.evaluation.scores`."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    bins = bin_of(confidence)
    counts, sums, hits = (np.bincount(bins, weights, BINS) for weights in (None, confidence, right))
    filled = np.maximum(counts, 1)
    return Calibration(counts.astype(np.int64), sums / filled, hits / filled)


def reliability(probabilities: Floats, targets: Indices) -> Figure:
    """Draw how often answers of a confidence are right, with Wilson's intervals, over the number of such answers.

    Args:
        probabilities: ``[N, C]``.
        targets: class indices ``[N]``.
    """
    found = calibration(probabilities, targets)
    figure = new_figure(f"The expected calibration error is {percent(found.ece)}", 4.5)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.2))
    style_axes(upper, "", "Share that is right")
    style_axes(lower, "Confidence", "Photographs")
    upper.plot([0, 1], [0, 1], color=MUTED, linestyle=(0, (4, 3)), linewidth=1, label="confidence equals accuracy")
    filled = found.counts > 0
    accuracy, counts = found.accuracy[filled], found.counts[filled]
    edges = np.array([wilson(round(a * n), int(n)) for a, n in zip(accuracy, counts, strict=True)])
    spread = np.abs(edges.T - accuracy)
    signs = series(0)
    bars = {"yerr": spread, "color": signs.colour, "ecolor": signs.colour, "marker": signs.marker, "markersize": 5}
    upper.errorbar(
        found.confidence[filled], accuracy, linestyle="none", capsize=2, label="a bin, 95 % interval", **bars
    )
    middles = (np.arange(BINS) + 0.5) / BINS
    drawn = lower.bar(middles, found.counts, width=0.9 / BINS, color=signs.colour)
    names = [str(number) if 0 < number < 1000 else "" for number in found.counts]  # noqa: PLR2004  (four digits overlap)
    style_text(lower.bar_label(drawn, names, padding=1), size=7, colour=INK)
    lower.margins(y=0.2)
    upper.set(xlim=(0, 1.01), ylim=(-0.01, 1.03))
    whole_numbers(lower, y=True)
    in_percent(upper, x=True, y=True)
    legend_below(figure, upper)
    return figure


def _line(axes: Axes, x: Floats, y: Floats, position: int, name: str) -> None:
    signs = series(position)
    axes.plot(x, y, color=signs.colour, linestyle=signs.dashes, marker=signs.marker, markersize=4, label=name)
