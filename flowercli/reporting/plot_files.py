"""Figures as files: PNG and SVG, one at a time, because matplotlib's settings are those of the whole process."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

from flowercli.atomic import write_bytes, write_text
from flowercli.reporting.figure_list import answer_plots, history_plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from flowercli.evaluation.evaluate import Evaluation
    from flowercli.reporting.drawing import History

PLOTS = "plots"
PIXELS_PER_INCH = 160
WITHOUT_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}
# How text is written to SVG is one of matplotlib's settings for the whole process.
_rendering = threading.Lock()


def png(figure: Figure) -> bytes:
    """Return a figure as PNG, in its light colours."""
    with _rendering, _quiet():
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=PIXELS_PER_INCH)
    return file.getvalue()


def svg(figure: Figure) -> str:
    """Return a figure as a stand-alone SVG in its light colours, its text as text; always the same bytes."""
    with _rendering, _quiet(), mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "flowers"}):
        file = io.StringIO()
        figure.savefig(file, format="svg", dpi=PIXELS_PER_INCH, metadata=WITHOUT_METADATA)
    return file.getvalue()


def write_plots(folder: Path, history: History, evaluation: Evaluation) -> list[Path]:
    """Write every figure of a run as PNG and SVG into ``plots/``.

    Args:
        folder: the run's; ``plots/`` is made in it if need be.
        history: for each epoch ``epoch``, ``loss``, ``learning_rate``, ``val_accuracy`` and ``val_loss``; may be empty.
        evaluation: its last variant is drawn.

    Returns:
        the files, in the order in which they were written.
    """
    target = folder / PLOTS
    target.mkdir(exist_ok=True)
    answers = list(evaluation.answers.values())[-1]
    plots = [*history_plots(history), *answer_plots(answers, evaluation.bundle.class_names)]
    written = []
    for plot in plots:
        picture, drawing = target / f"{plot.name}.png", target / f"{plot.name}.svg"
        write_bytes(picture, png(plot.figure))
        write_text(drawing, svg(plot.figure))
        written += [picture, drawing]
    return written


@contextmanager
def _quiet() -> Iterator[None]:
    """Be silent about letters that matplotlib's own font lacks: a browser has them, and a PNG shows a box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
