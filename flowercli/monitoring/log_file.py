"""The log of answers as a file: SQLite, several writers at a time, a reader at any time, readable after a kill."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import numpy as np

from flowercli import json_text
from flowercli.errors import LogError
from flowercli.monitoring.features import Sample, identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from flowercli.bundle import Bundle

# "flow": says whose file it is, also to the program `file`.
APPLICATION = 0x666C6F77
VERSION = 2
# The last second that Python has a date for, some years early.
END_OF_TIMES = 250e9
MOST_CLASSES = 2**16
WAIT_FOR_OTHERS = 5.0
SCHEMA = """
CREATE TABLE models (
    id INTEGER PRIMARY KEY, identity TEXT NOT NULL, name TEXT NOT NULL, graph TEXT NOT NULL, class_names TEXT NOT NULL,
    UNIQUE (identity, graph)
);
CREATE TABLE answers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, request TEXT, model INTEGER NOT NULL REFERENCES models,
    class_index INTEGER NOT NULL, confidence REAL NOT NULL, known REAL NOT NULL, rejected INTEGER NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, brightness REAL NOT NULL
);
"""
INSERT = (
    "INSERT INTO answers (time, request, model, class_index, confidence, known, rejected, width, height, brightness)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
COLUMNS = ("time", "class_index", "confidence", "known", "brightness", "width", "height", "graph")
Row = tuple[Any, ...]
OWN_TABLES = 2
TABLES = (
    "SELECT count(*) FROM sqlite_master WHERE name IN ('models', 'answers') AND type = 'table'"
    " AND sql NOT LIKE 'CREATE VIRTUAL%'"
)


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


@dataclass(frozen=True)
class Logged:
    """Answers of one model, oldest first: their ``times`` ``[N]`` in seconds since 1970, and their features."""

    times: npt.NDArray[np.float64]
    sample: Sample
    graphs: tuple[str, ...]


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open a log, or make one.

    Raises:
        LogError: the file is something else, or of another version.
        sqlite3.Error: it cannot be written, now.
    """
    connection = sqlite3.connect(path, timeout=WAIT_FOR_OTHERS, isolation_level=None, check_same_thread=False)
    try:
        _check(connection, path)
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        with transaction(connection):
            if _is_empty(connection):
                for statement in SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do all of the block or nothing, after other writers."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite itself has already ended a transaction that found the disk full.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def append(connection: sqlite3.Connection, model: LoggedModel, rows: Sequence[Row], max_rows: int) -> None:
    """Write rows of :func:`to_rows` in one transaction, and drop the oldest above ``max_rows``."""
    with transaction(connection):
        key = (model.identity, model.graph)
        described = (*key, model.name, json.dumps(model.class_names, ensure_ascii=False))
        statement = "INSERT OR IGNORE INTO models (identity, graph, name, class_names) VALUES (?, ?, ?, ?)"
        connection.execute(statement, described)
        (number,) = connection.execute("SELECT id FROM models WHERE identity = ? AND graph = ?", key).fetchone()
        connection.executemany(INSERT, [(*row[:2], number, *row[2:]) for row in rows])
        connection.execute("DELETE FROM answers WHERE id <= (SELECT max(id) FROM answers) - ?", (max_rows,))


def to_rows(
    times: Sequence[float], requests: Sequence[str | None], rejected: Sequence[bool], sample: Sample
) -> list[Row]:
    """Return the features of answers as the table holds them, but for the model's number."""
    columns = (
        times,
        requests,
        sample.class_index.tolist(),
        sample.confidence.tolist(),
        sample.known.tolist(),
        map(int, rejected),
        map(int, sample.width),
        map(int, sample.height),
        sample.brightness.round(3).tolist(),
    )
    return list(zip(*columns, strict=True))


def models_in(path: Path) -> list[LoggedModel]:
    """Return the models of the answers in a log, the one of the latest answer last.

    Raises:
        LogError: there is no such log.
    """
    query = (
        "SELECT identity, name, graph, class_names, count(*) FROM models JOIN answers ON answers.model = models.id"
        " GROUP BY models.id ORDER BY max(answers.id)"
    )
    with open_to_read(path) as connection:
        rows = connection.execute(query).fetchall()
    try:
        return [
            LoggedModel(str(key), str(name), str(graph), _names(names), count)
            for key, name, graph, names, count in rows
        ]
    except (TypeError, ValueError) as error:
        raise LogError(f"The log {path} is damaged: {error}.") from error


def _names(text: str) -> tuple[str, ...]:
    names = json_text.loads(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("class_names is no list of names")
    return tuple(names)


def read(path: Path, model: str, since: float = 0.0) -> Logged:
    """Read the answers of one model, by its identity, from a time on.

    Raises:
        LogError: there is no such log, or it is damaged.
    """
    query = (
        f"SELECT {', '.join(COLUMNS)} FROM answers JOIN models ON models.id = answers.model"  # noqa: S608  (ours)
        " WHERE identity = ? AND time >= ? ORDER BY time, answers.id"
    )
    with open_to_read(path) as connection:
        rows = connection.execute(query, (model, since)).fetchall()
    columns = dict(zip(COLUMNS, zip(*rows, strict=True) if rows else [()] * len(COLUMNS), strict=True))
    times, graphs = columns.pop("time"), columns.pop("graph")
    try:
        sample = Sample.of(columns)
        logged = Logged(np.array(times, dtype=np.float64), sample, tuple(sorted(set(graphs))))
    except (TypeError, ValueError, OverflowError) as error:
        raise LogError(f"The log {path} is damaged: {error}.") from error
    _check_values(logged, path)
    return logged


def _check_values(logged: Logged, path: Path) -> None:
    """Refuse numbers that no answer has.

    Raises:
        LogError: there are some.
    """
    sample = logged.sample
    finite = [logged.times, *vars(sample).values()]
    shares = [sample.confidence, sample.known]
    counts = [sample.class_index, sample.width, sample.height]
    if not (
        all(np.isfinite(values).all() for values in finite)
        and all(((values >= 0) & (values <= 1)).all() for values in shares)
        and all((values >= 0).all() for values in counts)
        and (sample.class_index < MOST_CLASSES).all()
        and (np.abs(logged.times) < END_OF_TIMES).all()
    ):
        raise LogError(f"The log {path} is damaged: it has numbers that no answer has.")


@contextmanager
def open_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that only reads, while others write.

    Raises:
        LogError: there is no such log, or it cannot be read.
    """
    if not path.is_file():
        hint = f"Make one: flowers classify PICTURES --log {path}"
        raise LogError(f"There is no log at {path}.", hint=hint)
    try:
        with closing(_connect_to_read(path)) as connection:
            if _check(connection, path):
                raise LogError(f"{path} is empty: nothing was logged yet.")
            yield connection
    except (sqlite3.Error, UnicodeDecodeError) as error:  # Damage, and what SQLite quotes of it, may be no text.
        raise LogError(f"The log {path} cannot be read: {error}.") from error


def _connect_to_read(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=WAIT_FOR_OTHERS)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:
        # A folder that may not be written to, where the file of the write-ahead log's index is to be.
        connection.close()
        return sqlite3.connect(f"{address}&immutable=1", uri=True)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> bool:
    """Refuse what is no log of ours; return whether it has nothing in it yet."""
    try:
        if _is_empty(connection):
            return True
        (application,) = connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.OperationalError:
        raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise LogError(f"{path} is no log of answers: {error}.", hint="Choose another file.") from error
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute(TABLES).fetchone()
    if application != APPLICATION:
        raise LogError(f"{path} is the database of another program.", hint="Choose another file.")
    if version != VERSION:
        message = f"{path} has log format {version}; this version knows format {VERSION}."
        new = f"Start a new log: flowers classify PICTURES --log {path.with_stem(path.stem + '-new')}"
        raise LogError(message, hint=new if version < VERSION else "pip install --upgrade flowercli, or log elsewhere.")
    if tables != OWN_TABLES:  # A view of that name is a program: it may run for ever.
        raise LogError(f"{path} is no log of answers.", hint="Choose another file.")
    return False


def _is_empty(connection: sqlite3.Connection) -> bool:
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(count == 0)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Let readers and writers not wait for each other; SQLite does not wait by itself for this change."""
    until = time.monotonic() + WAIT_FOR_OTHERS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return
