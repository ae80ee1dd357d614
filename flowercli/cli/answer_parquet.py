"""A Parquet file of ``flowers classify --output``, which nothing can be appended to: parts, made one at the end."""

from __future__ import annotations

import shutil
from itertools import chain
from typing import TYPE_CHECKING, Any

from flowercli.cli.answers_before import parts_of
from flowercli.errors import needs_extra

with needs_extra("batch"):
    from flowercli.batch.one_file import table_of, tables_in, write_file
    from flowercli.batch.places import Place
    from flowercli.batch.plan import name_of, numbers, to_parquet

if TYPE_CHECKING:
    from pathlib import Path

    from flowercli.inference.pipeline import Result


class ParquetParts:
    """Answers of a run: parts in ``NAME.parts``, each a Parquet file, until the file itself takes their place."""

    def __init__(self, file: Path, asked: dict[str, Any]) -> None:
        self._file, self._asked = file, asked
        self._place = Place.at(str(parts_of(file)))
        self._next = max(numbers(self._place.names()), default=-1) + 1
        self._taken: list[Result] = []

    def add(self, result: Result) -> None:
        """Take an answer."""
        self._taken.append(result)

    def keep(self) -> None:
        """Write a part, which is there whole or not."""
        self._place.write(name_of(self._next), to_parquet(table_of(self._taken)))
        self._next += 1
        self._taken = []

    def end(self) -> None:
        """Make one file of what was there, all parts, and what is left; then the parts go."""
        folder = parts_of(self._file)
        parts = [folder / name_of(number) for number in numbers(self._place.names())]
        before = [self._file] if self._file.is_file() and self._file.stat().st_size else []
        if parts or self._taken or not before:
            tables = chain.from_iterable(map(tables_in, [*before, *parts]))
            last = [table_of(self._taken)] if self._taken else []
            write_file(self._file, chain(tables, last), self._asked)
        shutil.rmtree(folder, ignore_errors=True)
