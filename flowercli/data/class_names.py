"""From the names of a dataset's class folders to the names that answers use, and to those of botany.

The one place for it is ``flowers.csv``: a flower a row, with the scientific name (the genus where the class is no
single species) and the other names that datasets give its folder. A folder that is not listed there keeps its own name.
"""

from __future__ import annotations

import csv
import unicodedata
from functools import cache
from importlib.resources import files
from typing import NamedTuple

TABLE = "flowers.csv"


class Flower(NamedTuple):
    """A row of the table: its class name, its scientific name, and what datasets call its folder."""

    class_name: str
    scientific_name: str
    folders: tuple[str, ...]


def class_name(folder: str) -> str:
    """Return the class name that answers use for a class folder, the same for ``é`` in one character and in two."""
    folder = composed(folder)
    return _by_folder().get(folder.replace("-", "_"), folder)


def composed(name: str) -> str:
    """Return a name with ``é`` as one character: some systems write it as two."""
    return unicodedata.normalize("NFC", name)


def scientific_name(name: str) -> str | None:
    """Return the scientific name of a class, or ``None`` where the table has no such flower."""
    flower = _table().get(name)
    return None if flower is None else flower.scientific_name


@cache
def _table() -> dict[str, Flower]:
    lines = files("flowercli.data").joinpath(TABLE).read_text(encoding="utf-8").splitlines()
    rows = [(row["class_name"], row["scientific_name"], row["folders"].split()) for row in csv.DictReader(lines)]
    return {name: Flower(name, scientific, tuple(folders)) for name, scientific, folders in rows}


@cache
def _by_folder() -> dict[str, str]:
    return {
        folder: flower.class_name for flower in _table().values() for folder in (flower.class_name, *flower.folders)
    }
