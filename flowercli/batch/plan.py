"""Which photographs there are to answer, in parts of one size: ``_plan/NNNNN.parquet``, and ``_plan/run.json``.

A part is a file of the plan, and its answers are the file of the same name beside ``_plan``. So what is missing follows
from two listings, and whoever answers a part twice writes the same file twice.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from flowercli import json_text
from flowercli.batch.digests import DIGEST, digests, is_in
from flowercli.errors import BatchError
from flowercli.inference.sources import FILE_URL, STDIN

if TYPE_CHECKING:
    from flowercli.batch.places import Place

FOLDER = "_plan"
RUN = "run.json"
SUFFIX = ".parquet"
# Of run.json.
VERSION = 1
PATHS = pa.schema([("path", pa.string())])
# How long after the end of a list on stdin an interrupt may have been what ended it.
CUT_OFF_SECONDS = 2.0
DAMAGED_HINT = "Delete it, and run the command again that wrote it."


class Plan:
    """The plan in a place of answers, with what was asked for when it was begun (``run.json``)."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = place.below(FOLDER)
        self._writing = Lock()
        self._stopped = False
        self._listed_at = -math.inf

    def stop(self) -> None:
        """Let nothing more be planned: a list on stdin that ends with the program that writes it is not whole.

        Ctrl-C in a pipeline ends that program first, so a list that ended just now is not held to be whole either.
        """
        with self._writing:
            self._stopped = True
            settings = self.settings() if time.monotonic() - self._listed_at < CUT_OFF_SECONDS else None
            if settings is not None and STDIN in settings["sources"]:
                self._write_settings({**settings, "listed": False})

    def settings(self) -> dict[str, Any] | None:
        """Return what ``run.json`` holds, ``None`` if there is none.

        Raises:
            BatchError: it is damaged, or of another version.
        """
        text = self.folder.read(RUN)
        if text is None:
            return None
        try:
            found = dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise BatchError(f"{self.folder.address}/{RUN} is no plan of this program.") from error
        if found.get("version") != VERSION:
            raise BatchError(f"{self.folder.address}/{RUN} is of another version than {VERSION}.")
        return found

    def parts(self) -> list[int]:
        """Return the numbers of the parts that are planned, in order."""
        return numbers(self.folder.names())

    def answered(self) -> set[int]:
        """Return the numbers of the parts whose answers are there."""
        return set(numbers(self.place.names()))

    def paths(self, number: int) -> list[str]:
        """Return the paths of a part, as its answers name them.

        Raises:
            BatchError: its file is missing or damaged.
        """
        return list(self.column(number).to_pylist())

    def column(self, number: int) -> pa.ChunkedArray:
        """Return the same as a column of Arrow's."""
        content = self.folder.read(name_of(number))
        if content is None:
            raise BatchError(f"{self.folder.address} has no {name_of(number)} any more.")
        return read_table(content, f"{self.folder.address}/{name_of(number)}", ["path"]).column(0)

    def write(self, settings: dict[str, Any]) -> None:
        """Write ``run.json``, unless it was stopped."""
        with self._writing:
            if not self._stopped:
                self._write_settings(settings)

    def _write_settings(self, settings: dict[str, Any]) -> None:
        self.folder.write(RUN, memoryview((json_text.dumps(settings, indent=2) + "\n").encode()))

    def extend(self, paths: Iterator[str], settings: dict[str, Any]) -> Iterator[int]:
        """Plan what is not planned yet, and yield the number of each part once it is there.

        A plan that was killed while it was written is gone on with in the same way.
        """
        planned = self.parts()
        known = self._digests(planned)
        number = planned[-1] + 1 if planned else 0
        new = (path for path in map(as_text, paths) if not is_in(known, path))
        while chunk := list(itertools.islice(new, settings["part_size"])):
            if not self._write(name_of(number), to_parquet(pa.table([chunk], schema=PATHS))):
                return
            yield number
            number += 1
        if number:  # Else there is nothing to hold to: the next run lists anew.
            self._listed_at = time.monotonic()
            self.write({**settings, "listed": True})

    def _write(self, name: str, content: memoryview) -> bool:
        """Write a file of the plan, unless it was stopped; tell whether it was not."""
        with self._writing:
            if not self._stopped:
                self.folder.write(name, content)
            return not self._stopped

    def _digests(self, planned: Sequence[int]) -> npt.NDArray[np.bytes_]:
        """Return the sorted digests of all paths that are planned: 16 bytes a photograph."""
        of_parts = [digests(self.paths(number)) for number in planned]
        return np.sort(np.concatenate(of_parts)) if of_parts else np.empty(0, f"S{DIGEST}")


def name_of(number: int) -> str:
    """Return the name of a part's file, in the plan and of its answers."""
    return f"{number:05}{SUFFIX}"


def numbers(names: Iterable[str]) -> list[int]:
    """Return the numbers of the parts among names of files, in order."""
    stems = (name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def to_parquet(table: pa.Table) -> memoryview:
    """Return a table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return memoryview(sink.getvalue())


def read_table(content: bytes, where: str, columns: list[str] | None = None) -> pa.Table:
    """Return the table of a Parquet file.

    Raises:
        BatchError: it is damaged.
    """
    try:
        return pq.read_table(pa.BufferReader(content), columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise BatchError(f"{where} is damaged.", hint=DAMAGED_HINT) from error


def as_text(path: str) -> str:
    """Return a path as Parquet can hold it, in UTF-8: one of other bytes as its ``file:///`` address."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return Path(os.path.abspath(path)).as_uri()  # noqa: PTH100  (it may have any bytes)
    return path


def as_path(text: str) -> str:
    """Return the path that :func:`as_text` was given."""
    return os.fsdecode(unquote_to_bytes(text.removeprefix("file://"))) if text.startswith(FILE_URL) else text
