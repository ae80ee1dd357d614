"""The table of ``flowers classify`` on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from flowercli.cli.console import SafeConsole
from flowercli.cli.output import WIDTH_IN_A_PIPE, stdout_console
from flowercli.cli.tables import LEAST, Cell, shortened
from flowercli.inference.classifier import UNSURE, Prediction, in_words
from flowercli.shown import one_line, percent, probability

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
# On a narrower terminal the scientific name would leave too little for the others.
WIDTH_FOR_SCIENTIFIC = 100
# What would read 0.0 % says nothing.
WORTH_SHOWING = 0.001


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
        self.bar_width, self.share_width = BAR_WIDTH, PERCENT_WIDTH
        # For names, beside the path and the bar.
        room = self.console.width - LEAST - BAR_WIDTH - PERCENT_WIDTH - 3 * GAP
        self.class_width = min(max(LEAST, room), _widest([FLOWER, *map(in_words, classifier.answerable)]))
        scientific = _widest(["", *(name for name in classifier.bundle.scientific_names if name)])
        wanted = self.class_width + GAP + scientific + (GAP + LEAST if self.lists_all else 0)
        has_room = self.console.width >= WIDTH_FOR_SCIENTIFIC and wanted <= room
        self.scientific_width = max(scientific, len(SCIENTIFIC)) if scientific and has_room else 0
        if self.class_width + (GAP + LEAST if self.lists_all else 0) > room:  # Numbers say what a bar says.
            self.bar_width, self.share_width = 0, len(CONFIDENCE)
            room = self.console.width - LEAST * (2 if self.lists_all else 1) - self.share_width - 3 * GAP
            self.class_width = max(LEAST, min(self.class_width, room))
        # What is between the path and the bar.
        self.name_width = self.class_width + (self.scientific_width and self.scientific_width + GAP)
        confidence_width = (self.bar_width and self.bar_width + GAP) + self.share_width
        left = self.console.width - self.name_width - confidence_width - 3 * GAP
        # Half of what is left for the path, half for the other classes; on a narrow terminal all for the path.
        both = self.lists_all or left >= 2 * LEAST
        self.path_width = max(LEAST, left // 2 if both else left)
        self.others_width = left - self.path_width
        self.answer_width = self.name_width + GAP + confidence_width
        names = self._names(Text(FLOWER, style="bold"), Text(SCIENTIFIC, style="bold"))
        confidence, others = (Text(title, style="bold") for title in (CONFIDENCE, OTHERS))
        widths = self.name_width, confidence_width, self.others_width
        self._row(Text("Picture", style="bold"), *zip((names, confidence, others), widths, strict=True))

    def __call__(self, result: Result) -> None:
        """Print the row of one result."""
        number = f" ({len(result.members)})" if result.members else ""
        path = Text(shortened(one_line(result.path) + number, self.path_width, keep_end=True))
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
        flower = Text(shortened(in_words(outcome.predicted_class), self.class_width), style="bold green")
        names = self._names(flower, Text(outcome.scientific_name or "", style="dim italic"))
        share = Text(probability(outcome.confidence).rjust(self.share_width))
        return [(names, self.name_width), (bar, self.bar_width), (share, self.share_width), others]

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
            return Text("\n".join(self._other(*pair) for pair in others), style="dim")
        said = ""
        for name, value in list(outcome.all_predictions.items())[1:] if self.others_width >= LEAST else ():
            share = probability(value)
            longer = f"{said}{', ' if said else ''}{in_words(name)} {share}"
            if value < WORTH_SHOWING or (said and cell_len(longer) > self.others_width):
                break
            said = longer if said else f"{shortened(in_words(name), self.others_width - len(share) - 1)} {share}"
        return Text(said, style="dim", no_wrap=True, overflow="ellipsis")

    def _other(self, name: str, share: float) -> str:
        """Return one of the next classes with its share, in lines between which no number is cut."""
        return Cell(f"{in_words(name)} {probability(share)}").fit(max(1, self.others_width))

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
