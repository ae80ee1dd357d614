"""Which figures a run and an evaluation have, each with its name and what it says in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from flowercli.evaluation.metrics import ConfusedPair, count_confusions
from flowercli.reporting import drawing
from flowercli.reporting.embedding_map import embedding_map, sample
from flowercli.shown import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from flowercli.evaluation.answers import Answers
    from flowercli.reporting.drawing import History

# Classes of which the counts can be read in half the width of a page.
MOST_CONFUSED = 7


@dataclass(frozen=True)
class Plot:
    """A figure, its name as a file and as an id, and its alternative text."""

    name: str
    figure: Figure
    alt: str


def history_plots(history: History) -> list[Plot]:
    """Return learning curves and learning rate, or nothing where there is no history."""
    if not history:
        return []
    first, last = history[0], history[-1]
    losses = f"The training loss goes from {first['loss']:.3f} in epoch {first['epoch']} to {last['loss']:.3f}"
    _, rates = drawing.column(history, "learning_rate")
    found = [Plot("learning-curves", drawing.learning_curves(history), f"{losses} in epoch {last['epoch']}.")]
    if len(rates):
        rate = f"The learning rate is at most {rates.max():.2g} and ends at {rates[-1]:.2g}."
        found.append(Plot("learning-rate", drawing.learning_rate(history), rate))
    return found


def answer_plots(answers: Answers, class_names: Sequence[str]) -> list[Plot]:
    """Return the figures of one variant's answers: confusion matrix, precision-recall, reliability, embedding map."""
    probabilities, targets = answers.probabilities, answers.targets
    matrix = count_confusions(targets, answers.predictions, len(class_names))
    curves = drawing.precision_recall(probabilities, targets, class_names)
    reliability = drawing.reliability(probabilities, targets)
    places = embedding_map(answers.embeddings, targets, answers.predictions, class_names)
    return [
        Plot("confusion-matrix", drawing.confusion_matrix(matrix, class_names), _confusion_alt(matrix, class_names)),
        Plot("precision-recall", curves, _curves_alt(drawing.average_precisions(probabilities, targets), class_names)),
        Plot("reliability", reliability, _reliability_alt(drawing.calibration(probabilities, targets))),
        Plot("embedding-map", places, _map_alt(answers)),
    ]


def most_confused_plot(matrix: npt.NDArray[np.int64], pairs: Sequence[ConfusedPair], names: Sequence[str]) -> Plot:
    """Return the part of a confusion matrix that holds the most frequent confusions.

    Args:
        matrix: counts ``[C, C]``; rows: what it is.
        pairs: what is confused, the most frequent first; at least one.
        names: by class index.
    """
    met = list(dict.fromkeys(name for pair in pairs for name in (pair.target, pair.named)))
    chosen = sorted(names.index(name) for name in met[:MOST_CONFUSED])
    alt = f"Of {len(names)} classes the {len(chosen)} that are confused most, as in the list above."
    return Plot("most-confused", drawing.confusion_matrix(matrix, names, chosen), alt)


def _confusion_alt(matrix: npt.NDArray[np.int64], class_names: Sequence[str]) -> str:
    wrong = matrix - np.diag(np.diag(matrix))
    said = f"{np.trace(matrix)} of {matrix.sum()} photographs are named rightly."
    if not wrong.any():
        return f"Confusion matrix: {said}"
    row, col = divmod(int(wrong.argmax()), len(class_names))
    most = f"The most frequent mistake: {class_names[row]} named {class_names[col]}, {wrong[row, col]} times."
    return f"Confusion matrix: {said} {most}"


def _curves_alt(scores: dict[int, float], class_names: Sequence[str]) -> str:
    index = min(scores, key=scores.__getitem__)
    mean = sum(scores.values()) / len(scores)
    lowest = f"the lowest is that of {class_names[index]}, {percent(scores[index])}"
    return f"Precision-recall curves: the mean average precision is {percent(mean)}; {lowest}."


def _reliability_alt(found: drawing.Calibration) -> str:
    surest = f"{found.counts[-1]} of {found.counts.sum()} photographs are in the surest bin"
    return f"Reliability diagram: the expected calibration error is {percent(found.ece)}; {surest}."


def _map_alt(answers: Answers) -> str:
    picked = sample(len(answers.targets))
    wrong = int((~answers.right[picked]).sum())
    return f"Map of the embeddings of {len(picked)} photographs by class; {wrong} wrongly named ones are ringed."
