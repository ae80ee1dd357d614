"""What a log says of answers and their models, checked: SQLite holds any type in any column, in a stranger's log too.

A ``ValueError`` of this module says in which way a log is damaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from flowercli import json_text
from flowercli.monitoring.features import FEATURES, Sample, identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowercli.bundle import Bundle

Row = tuple[Any, ...]
# The columns of an answer but for its number, with the types that are written there.
COLUMNS: dict[str, set[type]] = {
    "time": {float},
    "request": {str, NoneType},
    "model": {int},
    "class_index": {int},
    "confidence": {float},
    "known": {float},
    "rejected": {int},
    "width": {int},
    "height": {int},
    "brightness": {float},
}
# The last second that Python has a date for, some years early.
END_OF_TIMES = 250e9
# Of a name or an id. What a log has once, such as a class name, Parquet has in each row.
MOST_TEXT = 1024


@dataclass(frozen=True)
class LoggedModel:
    """A model that answers in a log are of."""

    identity: str
    name: str
    graph: str
    class_names: tuple[str, ...]
    answers: int

    @classmethod
    def of(cls, bundle: Bundle, graph: str) -> Self:
        """Return what a log says of a bundle; ``graph`` is the file name of what answers."""
        name = bundle.path.name
        return cls(identity(bundle), name, graph, tuple(bundle.class_names), 0)

    @classmethod
    def checked(cls, key: object, name: object, graph: object, class_names: object, answers: int) -> Self:
        """Make one of what a log holds.

        Raises:
            ValueError: it is not what is said of a model.
        """
        names = json_text.loads(class_names) if isinstance(class_names, str) else None
        if not isinstance(names, list) or not all(map(_is_text, names)):
            raise ValueError("class_names is no list of names")
        if not (_is_text(key) and _is_text(name) and _is_text(graph)):
            raise ValueError("what it calls a model is no name")
        return cls(str(key), str(name), str(graph), tuple(names), answers)


@dataclass(frozen=True)
class Batch:
    """Consecutive answers as the table holds them, by column; the models have the numbers in ``model``."""

    columns: Mapping[str, Sequence[Any]]
    models: Mapping[int, LoggedModel]

    @classmethod
    def checked(cls, rows: Sequence[Row], models: Mapping[int, LoggedModel]) -> Self:
        """Make one of at least one row with all of :data:`COLUMNS`.

        Raises:
            ValueError: there is something in it that no answer has.
        """
        columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
        for name, types in COLUMNS.items():
            if not set(map(type, columns[name])) <= types:
                raise ValueError(f"{name} is of a type that it has in no answer")
        if not all(request is None or _is_text(request) for request in columns["request"]):
            raise ValueError("request is too long")
        if not models.keys() >= set(columns["model"]):
            raise ValueError("it has answers of a model that it does not name")
        if not set(columns["rejected"]) <= {0, 1} or not all(0 <= time < END_OF_TIMES for time in columns["time"]):
            raise ValueError("it has numbers that no answer has")
        classes = np.array([len(models[number].class_names) for number in columns["model"]])
        Sample.of({name: columns[name] for name in FEATURES}).check(classes)
        return cls(columns, models)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MOST_TEXT
