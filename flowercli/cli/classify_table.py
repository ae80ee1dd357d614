"""The table of ``flowers classify`` on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from flowercli.cli.output import stdout_console
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


class TablePrinter:
    """Prints a table row by row, so that it streams; the widths are fixed by the terminal."""

    def __init__(self, class_names: Sequence[str], top_k: int | None) -> None:
        self.console = stdout_console()
        self.class_width = max(len("Flower"), *(len(name) + len(UNSURE) for name in class_names))
        self.others = OTHERS_SHOWN if top_k is None else top_k - 1
        fixed = self.class_width + BAR_WIDTH + PERCENT_WIDTH + 4 * GAP
        self.path_width = max(MIN_PATH_WIDTH, (self.console.width - fixed) // 2)
        self._row(*(Text(title, style="bold") for title in ("Picture", "Flower", "Confidence", "", "Otherwise")))

    def __call__(self, result: Result) -> None:
        """Print the row of one result."""
        path = Text(result.path, style="", overflow="ellipsis", no_wrap=True)
        if isinstance(result.outcome, Prediction):
            self._row(path, *self._answer(result.outcome))
        else:
            self._row(path, Text("error", style="bold red"), error=Text(result.outcome.message, style="red"))

    def _answer(self, outcome: Prediction) -> tuple[Text, Text, Text, Text]:
        name = outcome.predicted_class + (UNSURE if outcome.rejected else "")
        style = "yellow" if outcome.rejected else "bold green"
        filled = round(outcome.confidence * BAR_WIDTH)
        bar = Text("█" * filled, style=style).append("░" * (BAR_WIDTH - filled), style="dim")
        percent = Text(f"{outcome.confidence:.1%}", justify="right")
        rest = list(outcome.all_predictions.items())[1 : 1 + self.others]
        others = Text(", ".join(f"{label} {value:.1%}" for label, value in rest), style="dim")
        return Text(name, style=style), bar, percent, others

    def _row(self, path: Text, name: Text, *cells: Text, error: Text | None = None) -> None:
        table = Table.grid(padding=(0, GAP, 0, 0))
        table.add_column(width=self.path_width, no_wrap=True, overflow="ellipsis")
        table.add_column(width=self.class_width, no_wrap=True)
        if error is None:
            for width in (BAR_WIDTH, PERCENT_WIDTH):
                table.add_column(width=width, no_wrap=True)
            table.add_column(no_wrap=True, overflow="ellipsis")
            table.add_row(path, name, *cells)
        else:
            table.add_column()
            table.add_row(path, name, error)
        self.console.print(table)
