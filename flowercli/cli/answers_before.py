"""What a file that ``flowers classify --resume`` goes on with has already: read, held to what is asked, and mended."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from flowercli.batch.asked import check_same
from flowercli.batch.digests import digests, is_in
from flowercli.cli.classify_rows import path_cell
from flowercli.cli.options import Format
from flowercli.errors import UsageError, needs_extra
from flowercli.inference.sources import STDIN, anywhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from flowercli.cli.classify_output import Output
    from flowercli.inference.classifier import Classifier

# Paths that are held as text at once.
AT_ONCE = 10_000
HINT = "Ask as they were asked, or give another --output."


@dataclass(frozen=True)
class Before:
    """The answers that are there: how many, the sorted digests of their paths, and how a path stands among them."""

    count: int
    known: npt.NDArray[np.bytes_]
    written: Callable[[str], str]

    def lacks(self, path: str) -> bool:
        """Tell whether a picture has no answer yet; one that comes on stdin never has."""
        return path == STDIN or not is_in(self.known, anywhere(self.written(path)))


def parts_of(file: Path) -> Path:
    """Return the folder of the parts that are to become a Parquet file."""
    return file.with_name(f"{file.name}.parts")


def text_before(file: Path, output: Output, classifier: Classifier, folder: str) -> Before:
    """Read a file of lines, and take off what is no line at its end: it was cut, by a kill or a full disk.

    Its relative paths are those of a folder.

    Raises:
        UsageError: it has something else than the answers that are asked for.
    """
    with file.open("r+b") as stream:
        if output.form is Format.JSON:
            return _before(_whole(stream, _JsonRow(output, classifier), file), str, folder)
        cells = _CellRow(stream.readline(), output, classifier, file)
        return _before(_whole(stream, cells, file), path_cell, folder)


def _whole(stream: Any, row: Callable[[bytes], str | None], file: Path) -> Iterator[str]:
    """Yield the path of each line, and cut the file behind the last."""
    good = place = stream.tell()
    is_any = bool(good)
    bad = 0
    for number, line in enumerate(iter(stream.readline, b""), 1 + is_any):
        place += len(line)
        path = row(line) if line.endswith(b"\n") else None
        if path is None:
            bad = bad or number
            continue
        if bad:
            message = f"Line {bad} of {file} is no answer, and others follow it."
            raise UsageError(message, hint="Mend it, or give another --output.")
        good, is_any = place, True
        yield path
    if not is_any:
        raise UsageError(f"{file} has no answers in this format.", hint="Give another --output.")
    if good < place:
        stream.truncate(good)
        os.fsync(stream.fileno())


class _JsonRow:
    """Reads a line of JSON Lines: its path, ``None`` if it is no answer."""

    def __init__(self, output: Output, classifier: Classifier) -> None:
        names = classifier.bundle.class_names
        self._places = {name: names.index(name) for name in classifier.answerable}
        self._listed = min(output.classes or len(self._places), len(self._places))

    def __call__(self, line: bytes) -> str | None:
        """Return the path.

        Raises:
            UsageError: it is an answer of another model, or to another question.
        """
        try:
            found = json.loads(line)
            path = str(found["path"])
            if "error" in found:
                return path
            name, place, all_of_it = found["predicted_class"], found["class_index"], found["all_predictions"]
        except (ValueError, KeyError, TypeError):
            return None
        if self._places.get(name) != place or len(all_of_it) != self._listed or not self._places.keys() >= {*all_of_it}:
            raise UsageError(f"The answer about {path} is of another model, --top-k or --only.", hint=HINT)
        return path


class _CellRow:
    """Reads a line of CSV or TSV under its header."""

    def __init__(self, header: bytes, output: Output, classifier: Classifier, file: Path) -> None:
        from flowercli.cli.classify_output import printer

        self._tabs = output.form is Format.TSV
        expected = io.StringIO(newline="")
        printer(classifier, output, expected)
        self._width = len(self._cells(expected.getvalue().encode()))
        if header.rstrip(b"\r\n") != expected.getvalue().encode().rstrip(b"\r\n"):
            message = f"{file} has no answers in this format, or those of another model, --top-k or --only."
            raise UsageError(message, hint=HINT)

    def __call__(self, line: bytes) -> str | None:
        """Return the path as it stands there, ``None`` if it is no row, as what a failing machine leaves at an end."""
        cells = [] if b"\0" in line else self._cells(line)
        return cells[0] if len(cells) == self._width else None

    def _cells(self, line: bytes) -> list[str]:
        try:
            text = line.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            return []
        return text.split("\t") if self._tabs else next(csv.reader([text]), [])


def parquet_before(file: Path, asked: dict[str, Any]) -> Before | None:
    """Read a file of answers and the parts that are to be joined to it; ``None`` if there are none.

    Parts that an ended run has joined, and not deleted yet, are deleted.

    Raises:
        UsageError: they are of another model, or to another question.
        BatchError: one is damaged.
    """
    with needs_extra("batch"):
        from flowercli.batch.one_file import paths_in, settings_of
        from flowercli.batch.plan import as_text, name_of, numbers

    parts, files, folder = parts_of(file), [], asked["folder"]
    if file.is_file() and file.stat().st_size:
        settings = settings_of(file)
        check_same(settings, asked, file, HINT)
        files, folder = [file], settings.get("folder", folder)
        if settings.get("run") == asked["run"]:
            shutil.rmtree(parts, ignore_errors=True)
    if parts.is_dir():
        files += [parts / name_of(number) for number in numbers(os.listdir(parts))]
    return _before((path for one in files for path in paths_in(one)), as_text, folder) if files else None


def folder_of(file: Path) -> str | None:
    """Return the folder from which a whole Parquet file was written, if it says that."""
    with needs_extra("batch"):
        from flowercli.batch.one_file import settings_of
    return settings_of(file).get("folder") if file.is_file() and file.stat().st_size else None


def _before(paths: Iterator[str], written: Callable[[str], str], folder: str) -> Before:
    found = []
    count = 0
    while some := list(islice(paths, AT_ONCE)):
        found.append(digests(anywhere(path, folder) for path in some))
        count += len(some)
    return Before(count, np.sort(np.concatenate(found)) if found else digests([]), written)
