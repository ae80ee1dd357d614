"""The answers of ``flowers classify`` as rows under a header: CSV (RFC 4180) or TSV."""

from __future__ import annotations

import csv
import os
import sys
from typing import TYPE_CHECKING, TextIO

from flowercli.inference.classifier import Prediction
from flowercli.shown import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowercli.inference.pipeline import Result

COLUMNS = (
    "path",
    "predicted_class",
    "scientific_name",
    "confidence",
    "known",
    "rejected",
    "reason",
    "error",
    "message",
)
# A spreadsheet takes a cell that begins with one of these for a formula, and runs it.
FORMULA = ("=", "+", "-", "@")


class RowPrinter:
    """Writes a row for each result.

    Numbers have six digits after the point. What is to be seen of a text stands on one line, as it does on a terminal.
    """

    def __init__(
        self, stream: TextIO, *, classes: Sequence[str] = (), others: int = 0, tabs: bool, header: bool = True
    ) -> None:
        """Write the header.

        Args:
            stream: where rows go.
            classes: those whose probability has a column; every answer lists them.
            others: how many classes are listed beside the first, each with its name.
            tabs: TSV rather than CSV.
            header: whether there is none yet.
        """
        self._classes, self._others = classes, others
        if tabs:
            self._writer = csv.writer(
                stream, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n"
            )
        else:
            # On Windows, stdout ends each line in two characters by itself.
            self._writer = csv.writer(stream, lineterminator="\n" if stream is sys.stdout else "\r\n")
        more = [part for place in range(2, self._others + 2) for part in (f"class_{place}", f"probability_{place}")]
        if header:
            self._writer.writerow(map(_cell, [*COLUMNS, *self._classes, *more]))

    def __call__(self, result: Result) -> None:
        """Write the row of one result."""
        outcome, path = result.outcome, _as_path(result.path)
        if not isinstance(outcome, Prediction):
            nothing = [""] * (len(self._classes) + 2 * self._others)
            self._writer.writerow(map(_cell, [path, *[""] * 6, outcome.code, outcome.message, *nothing]))
            return
        rejected = str(outcome.rejected).lower()
        of_it = [path, outcome.predicted_class, outcome.scientific_name or "", _number(outcome.confidence)]
        of_it += [_number(outcome.known), rejected, outcome.reason or "", "", ""]
        values = outcome.all_predictions
        more = [part for name, value in list(values.items())[1 : self._others + 1] for part in (name, _number(value))]
        self._writer.writerow(map(_cell, [*of_it, *(_number(values[name]) for name in self._classes), *more]))


def others_listed(top_k: int | None, classes: int) -> int:
    """Return how many classes are listed beside the first."""
    return 0 if top_k is None else (min(top_k, classes) if top_k else classes) - 1


def _number(value: float) -> str:
    return f"{value:.6f}"


def path_cell(path: str) -> str:
    """Return the cell of a path."""
    return _cell(_as_path(path))


def _as_path(path: str) -> str:
    """Return a path that no spreadsheet takes for a formula, and that leads to the same file."""
    return os.path.join(os.curdir, path) if path.startswith(FORMULA) and path != "-" else path


def _cell(text: str) -> str:
    safe = one_line(text)
    return f"'{safe}" if safe.startswith(FORMULA) and safe != "-" else safe
