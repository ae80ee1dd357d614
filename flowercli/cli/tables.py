"""Tables that fit the terminal: names and paths give way where they tell least, numbers never do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowercli.shown import one_line

# What a name or a path is cut down to at most.
LEAST = 12
# Between two columns, where there is little room.
GAP = 2
# A sign stays with its number.
BETWEEN_WORDS = re.compile(" (?!%)")


def shortened(text: str, width: int, *, keep_end: bool = False) -> str:
    """Shorten to a number of terminal cells: a path at its beginning, where it tells least, a name in its middle."""
    if cell_len(text) <= width:
        return text
    half = 0 if keep_end else (width - 1) // 2
    start = next(end for end in range(len(text), -1, -1) if cell_len(text[:end]) <= half)
    rest = width - 1 - cell_len(text[:start])
    end = next(end for end in range(start, len(text) + 1) if cell_len(text[end:]) <= rest)
    return f"{text[:start]}…{text[end:]}"


@dataclass(frozen=True)
class Cell:
    """What stands in a cell: a number with its unit and perhaps an interval in brackets, a path, or words."""

    text: str
    is_number: bool = False
    is_path: bool = False

    @property
    def least(self) -> int:
        """How narrow it can be."""
        if self.is_number:
            return max(map(cell_len, self._lines()))
        words = [self.text] if self.is_path else BETWEEN_WORDS.split(self.text)
        return min(LEAST, max(map(cell_len, words)))

    def fit(self, width: int) -> str:
        """Return its text in lines that are at most so wide."""
        if self.is_number:
            return self.text if cell_len(self.text) <= width else "\n".join(self._lines())
        if self.is_path:
            return shortened(self.text, width, keep_end=True)
        lines: list[str] = []
        for word in BETWEEN_WORDS.split(self.text):
            if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
                lines[-1] += f" {word}"
            else:
                lines.append(shortened(word, width))
        return "\n".join(lines)

    def _lines(self) -> list[str]:
        return self.text.replace(" (", "\n(").split("\n")


class Sheet:
    """The cells of a table, its header first; ``right`` says of each column whether it stands to the right."""

    def __init__(self, rows: Sequence[Sequence[Cell]], right: Sequence[bool]) -> None:
        self._rows, self._right = rows, right

    def turned(self) -> Sheet:
        """Return the same with columns for rows."""
        return Sheet(list(zip(*self._rows, strict=True)), [False] * len(self._rows))

    def table(self, room: int, title: str | None) -> Table | None:
        """Return the table, or nothing where there is no room for its numbers."""
        columns = list(zip(*self._rows, strict=True))
        natural = [max(cell_len(cell.text) for cell in column) for column in columns]
        if sum(natural) + 3 * len(columns) - 1 <= room:
            return self._drawn(natural, 1, title)
        room -= GAP * len(columns)
        least = [max(cell.least for cell in column) for column in columns]
        for level in range(room, 0, -1):
            widths = [min(most, max(fewest, level)) for most, fewest in zip(natural, least, strict=True)]
            if sum(widths) <= room:
                return self._drawn(widths, 0, title)
        return None

    def _drawn(self, widths: Sequence[int], padding: int, title: str | None) -> Table:
        table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        table.padding = (0, 1, 0, padding)
        header, *body = self._rows
        for cell, width, right in zip(header, widths, self._right, strict=True):
            table.add_column(cell.fit(width), justify="right" if right else "left", no_wrap=True)
        for row in body:
            table.add_row(*(cell.fit(width) for cell, width in zip(row, widths, strict=True)))
        return table

    def listed(self, title: str | None) -> Group:
        """Return the rows one below the other, a line a cell: for a terminal in which no table has room."""
        header, *body = self._rows
        lines = [] if title is None else [Text(title, style="bold")]
        indent = max(cell_len(cell.text) for cell in header[1:])
        for first, *others in body:
            lines.append(Text(first.text, style="bold"))
            pairs = zip(header[1:], others, strict=True)
            lines += [Text(f"  {name.text.ljust(indent)}  {cell.text}") for name, cell in pairs]
        return Group(*lines, Text())


def fitted(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    room: int,
    *,
    title: str | None = None,
    left: Sequence[str] = (),
    paths: Sequence[str] = (),
) -> RenderableType:
    """Return a table that is at most so wide.

    Args:
        columns: their titles.
        rows: a text for each column; those of the columns that are named nowhere below are numbers.
        room: terminal cells.
        title: of the table.
        left: the titles of columns of words; the first column is one, if it is not of paths.
        paths: the titles of columns of paths and names of files.
    """
    numbers = [bool(place) and title not in {*left, *paths} for place, title in enumerate(columns)]
    kinds = [(number, title in paths) for number, title in zip(numbers, columns, strict=True)]
    body = [[Cell(one_line(text), *kind) for text, kind in zip(row, kinds, strict=True)] for row in rows]
    sheet = Sheet([[Cell(title) for title in columns], *body], numbers)
    return sheet.table(room, title) or sheet.turned().table(room, title) or sheet.listed(title)
