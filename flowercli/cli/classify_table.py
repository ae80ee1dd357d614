"""The table of ``flowers classify`` on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from flowercli.cli.console import SafeConsole
from flowercli.cli.output import WIDTH_IN_A_PIPE, stdout_console
from flowercli.inference.classifier import UNSURE, Prediction, in_words
from flowercli.shown import one_line, percent

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from flowercli.inference.classifier import Classifier
    from flowercli.inference.pipeline import Result

FLOWER, SCIENTIFIC = "Flower", "Scientific name"
CONFIDENCE, OTHERS = "Confidence", "Otherwise"
BAR_WIDTH = 10
PERCENT_WIDTH = 7
GAP = 2
MIN_PATH_WIDTH = 12
# On a narrower terminal the scientific name would leave too little for the others.
WIDTH_FOR_SCIENTIFIC = 100
# What would read 0.0 % says nothing.
WORTH_SHOWING = 0.0005


class TablePrinter:
    """Prints a table row by row, so that it streams; the widths are fixed by the terminal."""

    def __init__(self, classifier: Classifier, top_k: int | None = None, stream: TextIO | None = None) -> None:
        """Choose the widths.

        Args:
            classifier: whose answers are printed.
            top_k: as many classes are listed, on several lines where there is no room; ``None`` for one line.
            stream: a file to print into; stdout without one.
        """
        self.console = stdout_console() if stream is None else SafeConsole(file=stream, width=WIDTH_IN_A_PIPE)
        self.lists_all = top_k is not None
        self.flowers, self.is_restricted = len(classifier.answerable), classifier.is_restricted
        self.class_width = _widest([FLOWER, *map(in_words, classifier.answerable)])
        scientific = [name for name in classifier.bundle.scientific_names if name]
        has_room = self.console.width >= WIDTH_FOR_SCIENTIFIC
        self.scientific_width = _widest([SCIENTIFIC, *scientific]) if scientific and has_room else 0
        # What is between the path and the bar.
        self.name_width = self.class_width + (self.scientific_width and self.scientific_width + GAP)
        left = self.console.width - self.name_width - BAR_WIDTH - PERCENT_WIDTH - 4 * GAP
        # Half of what is left for the path, half for the other classes; on a narrow terminal all for the path.
        both = self.lists_all or left >= 2 * MIN_PATH_WIDTH
        self.path_width = max(MIN_PATH_WIDTH, left // 2 if both else left)
        self.others_width = left - self.path_width
        self.answer_width = self.name_width + BAR_WIDTH + PERCENT_WIDTH + 2 * GAP
        names = self._names(Text(FLOWER, style="bold"), Text(SCIENTIFIC, style="bold"))
        confidence, others = (Text(title, style="bold") for title in (CONFIDENCE, OTHERS))
        widths = self.name_width, BAR_WIDTH + GAP + PERCENT_WIDTH, self.others_width
        self._row(Text("Picture", style="bold"), *zip((names, confidence, others), widths, strict=True))

    def __call__(self, result: Result) -> None:
        """Print the row of one result."""
        path = Text(keep_end(one_line(result.path), self.path_width))
        if isinstance(result.outcome, Prediction):
            self._row(path, *self._answer(result.outcome))
        else:
            message = Text("error", style="bold red").append(f"  {result.outcome.message}", style="not bold red")
            self._row(path, (message, self.console.width - self.path_width - GAP))

    def _answer(self, outcome: Prediction) -> list[tuple[Text, int]]:
        """Return the cells of an answer after the path, each with its width."""
        bar = _bar(outcome.confidence, "dim" if outcome.rejected else "bold green")
        others = self._others(outcome), self.others_width
        if outcome.rejected:
            return [(self._rejection(outcome, bar), self.answer_width), others]
        flower = Text(in_words(outcome.predicted_class), style="bold green")
        names = self._names(flower, Text(outcome.scientific_name or "", style="dim italic"))
        share = Text(percent(outcome.confidence).rjust(PERCENT_WIDTH))
        return [(names, self.name_width), (bar, BAR_WIDTH), (share, PERCENT_WIDTH), others]

    def _rejection(self, outcome: Prediction, bar: Text) -> Text:
        """Return what is said of a rejected answer, over the columns of name and confidence, with its bar in place."""
        said = rejection_in_words(outcome, self.flowers, is_restricted=self.is_restricted)
        if cell_len(said) > self.name_width:
            said = said.replace("; ", ";\n")
        lines = [*Text(said, style="yellow").wrap(self.console, self.answer_width)]
        if lines[-1].cell_len > self.name_width:
            lines.append(Text())
        lines[-1] = Text.assemble(lines[-1], " " * (self.name_width + GAP - lines[-1].cell_len), bar)
        return Text("\n").join(lines)

    def _names(self, flower: Text, scientific: Text) -> Text:
        """Return the name of a flower, and where there is room for its scientific name, that in a column of its own."""
        if not self.scientific_width:
            return flower
        padding = " " * (self.class_width + GAP - flower.cell_len)
        return Text.assemble(flower, padding, scientific)

    def _others(self, outcome: Prediction) -> Text:
        """Return as many of the next classes as there is room for; one of them always."""
        if self.lists_all:
            others = list(outcome.all_predictions.items())[1:]
            return Text("\n".join(f"{in_words(name)} {percent(value)}" for name, value in others), style="dim")
        said = ""
        for name, value in list(outcome.all_predictions.items())[1:]:
            longer = f"{said}{', ' if said else ''}{in_words(name)} {percent(value)}"
            if value < WORTH_SHOWING or (said and cell_len(longer) > self.others_width):
                break
            said = longer
        return Text(said, style="dim", no_wrap=True, overflow="ellipsis")

    def _row(self, path: Text, *cells: tuple[Text, int]) -> None:
        # The gaps are part of the columns: versions of rich differ in how they add padding to a fixed width.
        table = Table.grid(padding=0)
        shown = [(path, self.path_width), *(cell for cell in cells if cell[1] > 0)]
        for _, width in shown[:-1]:
            table.add_column(width=width + GAP, no_wrap=True)
        table.add_column(max_width=shown[-1][1])
        table.add_row(*(text for text, _ in shown))
        self.console.print(table)


def _bar(share: float, style: str) -> Text:
    filled = round(share * BAR_WIDTH)
    return Text("█" * filled, style=style).append("░" * (BAR_WIDTH - filled), style="dim")


def rejection_in_words(answer: Prediction, flowers: int, *, is_restricted: bool) -> str:
    """Say of a rejected answer that it is none, and what it comes nearest to.

    Args:
        answer: the rejected one.
        flowers: how many the classifier answers.
        is_restricted: whether those are chosen ones among more that the model knows.
    """
    if flowers == 1:
        return f"{'not sure that it is' if answer.reason == UNSURE else 'not'} {in_words(answer.predicted_class)}"
    nearest = f"{in_words(answer.predicted_class)}, {percent(answer.confidence, 0)}"
    if answer.reason == UNSURE:
        return f"not sure; most like {nearest}"
    return f"none of the {flowers} flowers {'asked about' if is_restricted else 'I know'}; the nearest is {nearest}"


def _widest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts))


def keep_end(path: str, width: int) -> str:
    """Shorten a path from the left, where it says least, to a number of terminal cells."""
    if cell_len(path) <= width:
        return path
    start = next(start for start in range(len(path) + 1) if cell_len(path[start:]) < width)
    return "…" + path[start:]
