"""How every figure looks: colours that can be told apart by all, a second sign beside each colour, readable text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from flowercli.shown import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

# Colours that a page exchanges for its own in the dark (see plot_files), as it does the first of those below.
INK, MUTED, GRID, PAPER = "#1b1f24", "#59636e", "#d8dee4", "#fdfdfe"
# Written on in ink, so the same blue in the dark: one shade off the other, which is not.
CELL = "#0072b3"
# Okabe and Ito, 2008: told apart under every form of colour blindness, seen on white and on black. Their
# yellow is left out: on white it cannot be seen.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7f87")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES = ("solid", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
FONT = "DejaVu Sans"
WIDTH, TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 4.3, 10, 9.5, 8.5
LONGEST_LABEL = 20
LONGEST_IN_TWO_COLUMNS, LEGEND_LINE = 25, 0.18


@dataclass(frozen=True)
class Series:
    """The signs of one series: its colour is never the only one."""

    colour: str
    marker: str
    dashes: str | tuple[float, tuple[float, ...]]


def series(position: int) -> Series:
    """Return the signs of a series by its position; no two of the first 56 are alike."""
    return Series(COLOURS[position % 7], MARKERS[position % 8], DASHES[position % 4])


def new_figure(title: str, height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure, in inches, outside of pyplot and so of its global list of figures.

    Args:
        title: a sentence; the figure must be understood without its surroundings.
        height: in inches.
        width: in inches; the usual one is read without zooming on a telephone.
    """
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    style_text([figure.suptitle(title, x=0.01, horizontalalignment="left")], size=TITLE_SIZE, colour=INK, weight="bold")
    return figure


def style_axes(axes: Axes, x_label: str, y_label: str) -> None:
    """Label the axes and quieten everything that is not data."""
    axes.set_facecolor("none")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.tick_params(colors=MUTED, length=3)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_color(MUTED)
        spine.set_linewidth(0.8)
        spine.set_visible(side in {"left", "bottom"})
    style_text([axes.xaxis.label, axes.yaxis.label], size=TEXT_SIZE, colour=INK)
    style_text([*axes.get_xticklabels(), *axes.get_yticklabels()], size=SMALL_SIZE, colour=MUTED)
    axes.tick_params(labelsize=SMALL_SIZE, labelfontfamily=FONT)


def style_text(texts: Iterable[Text], *, size: float, colour: str, weight: str = "normal") -> None:
    """Set font, size and colour, and take the text as it is: a class may be called ``$x$``."""
    for text in texts:
        text.set(fontfamily=FONT, fontsize=size, color=colour, fontweight=weight, parse_math=False)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Name the series under the axes, where the legend covers no data, and give the figure the height for it."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 if max(map(len, labels)) <= LONGEST_IN_TWO_COLUMNS else 1
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * -(-len(labels) // columns))
    legend = figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False, handlelength=2.8)
    style_text(legend.get_texts(), size=SMALL_SIZE, colour=INK)


def in_percent(axes: Axes, *, x: bool = False, y: bool = False) -> None:
    """Write the ticks of shares as per cent."""
    for wanted, axis in ((x, axes.xaxis), (y, axes.yaxis)):
        if wanted:
            axis.set_major_formatter(FuncFormatter(_as_tick))


def _as_tick(value: float, _position: int) -> str:
    """Return a share with as many digits as it has, of one at most."""
    return percent(value, 0 if round(1000 * value) % 10 == 0 else 1)


def whole_numbers(axes: Axes, *, y: bool = False) -> None:
    """Tick epochs and counts at whole numbers only."""
    axis, most = (axes.yaxis, 4) if y else (axes.xaxis, 10)
    axis.set_major_locator(MaxNLocator(most, integer=True, min_n_ticks=1))


def label(name: str) -> str:
    """Return a class name as a figure can hold it: on one line, of printable characters, not too long."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
    return line if len(line) <= LONGEST_LABEL else line[: LONGEST_LABEL - 1] + "…"
