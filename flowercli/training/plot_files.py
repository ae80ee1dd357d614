"""Figures as PNG, as SVG, and as the SVG inside a page that follows the page's colours."""

from __future__ import annotations

import io
import re
import threading
import warnings
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

import matplotlib as mpl

from flowercli.atomic import replace_file, write_text
from flowercli.training.figures import answer_plots, history_plots
from flowercli.training.plot_style import GRID, INK, MUTED, PAPER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.figure import Figure

    from flowercli.training.evaluation import Evaluation
    from flowercli.training.figures import Plot
    from flowercli.training.plots import History

PLOTS = "plots"
PIXELS_PER_INCH = 160
# What a page may set, and what the drawing falls back on.
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper"}
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
    """Return a figure as a stand-alone SVG in its light colours, its text as text; the same figure gives the same file."""
    with _rendering, _quiet(), mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "flowers"}):
        file = io.StringIO()
        figure.savefig(file, format="svg", dpi=PIXELS_PER_INCH, metadata=WITHOUT_METADATA)
    return file.getvalue()


def inline_svg(plot: Plot) -> str:
    """Return a plot as the ``<svg>`` element of a page.

    Its ids carry the name of the plot, so that several can share a page; the four colours of text and ground are the
    page's variables; it asks for nothing from elsewhere, and its alternative text is the plot's.
    """
    text = svg(plot.figure)
    text = text[text.index("<svg") :]
    # Namespaces are addresses that a page does not need, and a style element would hold for the whole page.
    text = re.sub(r'\s(xmlns(:\w+)?|version)="[^"]*"', "", text).replace("xlink:href=", "href=")
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{plot.name}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(f": {colour}", f": var({variable}, {colour})")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(plot.alt)}"', 1)


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
    variant, answers = list(evaluation.answers.items())[-1]
    plots = [*history_plots(history), *answer_plots(answers, evaluation.bundle.class_names)]
    written = []
    for plot in plots:
        picture, drawing = target / f"{plot.name}.png", target / f"{plot.name}.svg"
        partial = target / f".{plot.name}"
        partial.write_bytes(png(plot.figure))
        replace_file(partial, picture)
        write_text(drawing, svg(plot.figure))
        written += [picture, drawing]
    return written


@contextmanager
def _quiet() -> Iterator[None]:
    """Be silent about letters that matplotlib's own font lacks: a browser has them, and a PNG shows a box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
