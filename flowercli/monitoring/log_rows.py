"""What a log is and what it says of answers and their models, checked: a stranger's database may hold anything.

It has two tables and nothing else, for all that SQLite keeps there is a program, and any type in any column.

A ``ValueError`` of this module says in which way a log is damaged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from flowercli import json_text
from flowercli.errors import LogError
from flowercli.installation import upgrade
from flowercli.monitoring.features import FEATURES, Sample, identity
from flowercli.shown import in_shell, one_line

if TYPE_CHECKING:
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

# "flow": says whose file it is, also to the program `file`.
APPLICATION = 0x666C6F77
VERSION = 2
# SQLite keeps these texts as they are: who changes one, even a space, refuses all logs there are.
TABLES = {
    "models": """CREATE TABLE models (
    id INTEGER PRIMARY KEY, identity TEXT NOT NULL, name TEXT NOT NULL, graph TEXT NOT NULL, class_names TEXT NOT NULL,
    UNIQUE (identity, graph)
)""",
    "answers": """CREATE TABLE answers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, request TEXT, model INTEGER NOT NULL REFERENCES models,
    class_index INTEGER NOT NULL, confidence REAL NOT NULL, known REAL NOT NULL, rejected INTEGER NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, brightness REAL NOT NULL
)""",
}
# With what SQLite adds by itself: for UNIQUE and for AUTOINCREMENT,
ENTRIES = {("table", name, sql) for name, sql in TABLES.items()} | {
    ("index", "sqlite_autoindex_models_1", None),
    ("table", "sqlite_sequence", "CREATE TABLE sqlite_sequence(name,seq)"),
}
# and where somebody has called ANALYZE.
STATISTICS = {
    ("table", "sqlite_stat1", "CREATE TABLE sqlite_stat1(tbl,idx,stat)"),
    ("table", "sqlite_stat4", "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)"),
}


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


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of a log, in the transaction that is open."""
    for statement in TABLES.values():
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def check(connection: sqlite3.Connection, path: Path) -> bool:
    """Refuse what is no log of ours; return whether it has nothing in it yet.

    Raises:
        LogError: it is the file of another program, of another version, or has more in it than a log.
        sqlite3.OperationalError: it cannot be read, now.
    """
    try:
        entries = set(connection.execute("SELECT type, name, sql FROM sqlite_master"))
        (application,) = connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.OperationalError:
        raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise LogError(f"{path} is no log of answers: {one_line(str(error))}.", hint="Choose another file.") from error
    if not entries:
        return True
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise LogError(f"{path} is the database of another program.", hint="Choose another file.")
    if version != VERSION:
        message = f"{path} has log format {version}; this version knows format {VERSION}."
        new = f"Start a new log: flowers classify PICTURES --log {in_shell(path.with_stem(path.stem + '-new'))}"
        raise LogError(message, hint=new if version < VERSION else f"{upgrade()}, or log elsewhere.")
    # A trigger, a view, a computed column: each may run for ever.
    if entries - STATISTICS != ENTRIES:
        raise LogError(f"{path} is no log of answers: a log has two tables, as made.", hint="Choose another file.")
    return False
