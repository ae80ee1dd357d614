"""The table of ``flowers classify`` on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from flowercli.cli.output import one_line, stdout_console
from flowercli.inference.classifier import Prediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowercli.inference.pipeline import Result

UNSURE = " (not sure)"
BAR_WIDTH = 10
PERCENT_WIDTH = 6
GAP = 2
MIN_PATH_WIDTH = 12
OTHERS_SHOWN = 2
# What would read 0.0 % says nothing.
WORTH_SHOWING = 0.0005


class TablePrinter:
    """Prints a table row by row, so that it streams; the widths are fixed by the terminal."""

    def __init__(self, class_names: Sequence[str], top_k: int | None) -> None:
        self.console = stdout_console()
        self.class_width = max(len("Flower"), *(len(name) + len(UNSURE) for name in class_names))
        self.others = OTHERS_SHOWN if top_k is None else top_k - 1
        left = self.console.width - self.class_width - BAR_WIDTH - PERCENT_WIDTH - 4 * GAP
        # Half of what is left for the path, half for the other classes; on a narrow terminal all for the path.
        self.path_width = max(MIN_PATH_WIDTH, left // 2 if left >= 2 * MIN_PATH_WIDTH else left)
        self.others_width = left - self.path_width
        self._row(*(Text(title, style="bold") for title in ("Picture", "Flower", "Confidence", "", "Otherwise")))

    def __call__(self, result: Result) -> None:
        """Print the row of one result."""
        path = Text(keep_end(one_line(result.path), self.path_width))
        if isinstance(result.outcome, Prediction):
            self._row(path, *self._answer(result.outcome))
        else:
            self._row(path, Text("error", style="bold red"), error=Text(result.outcome.message, style="red"))

    def _answer(self, outcome: Prediction) -> tuple[Text, Text, Text, Text]:
        name = outcome.predicted_class + (UNSURE if outcome.rejected else "")
        style = "yellow" if outcome.rejected else "bold green"
        filled = round(outcome.confidence * BAR_WIDTH)
        bar = Text("█" * filled, style=style).append("░" * (BAR_WIDTH - filled), style="dim")
        percent = Text(f"{outcome.confidence:{PERCENT_WIDTH}.1%}")
        rest = [(n, p) for n, p in list(outcome.all_predictions.items())[1 : 1 + self.others] if p >= WORTH_SHOWING]
        others = Text(", ".join(f"{label} {value:.1%}" for label, value in rest), style="dim")
        return Text(name, style=style), bar, percent, others

    def _row(self, path: Text, name: Text, *cells: Text, error: Text | None = None) -> None:
        # The gaps are part of the columns: versions of rich differ in how they add padding to a fixed width.
        table = Table.grid(padding=0)
        table.add_column(width=self.path_width + GAP, no_wrap=True)
        table.add_column(width=self.class_width + GAP, no_wrap=True)
        if error is not None:
            table.add_column()
            table.add_row(path, name, error)
        else:
            widths = [BAR_WIDTH + GAP, PERCENT_WIDTH + GAP, self.others_width][: 3 if self.others_width > 0 else 2]
            for width in widths:
                table.add_column(width=width, no_wrap=True, overflow="ellipsis")
            table.add_row(path, name, *cells[: len(widths)])
        self.console.print(table)


def keep_end(path: str, width: int) -> str:
    """Shorten a path from the left, where it says least, to a number of terminal cells."""
    if cell_len(path) <= width:
        return path
    start = next(start for start in range(len(path) + 1) if cell_len(path[start:]) < width)
    return "…" + path[start:]
