"""The log of answers as a file: SQLite, several writers at a time, a reader at any time, readable after a kill."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from flowercli.errors import LogError
from flowercli.monitoring.features import FEATURES, Sample
from flowercli.monitoring.log_rows import COLUMNS, Batch, LoggedModel, Row, check, create
from flowercli.shown import in_shell, one_line

WAIT_FOR_OTHERS = 5.0
# Bytes of a text, and of a row. The longest is the list of class names; a program in a file could make more.
MOST_BYTES = 16 * 2**20
ROWS = 20_000
INSERT = f"INSERT INTO answers ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608  (ours)
ANSWERS = f"SELECT {', '.join(COLUMNS)} FROM answers"  # noqa: S608  (ours)
OF_MODEL = "WHERE model IN (SELECT id FROM models WHERE identity = ?) AND time >= ?"
MODELS = (
    "SELECT models.id, identity, name, graph, class_names, count(*) FROM models JOIN answers"
    " ON answers.model = models.id GROUP BY models.id ORDER BY max(answers.id)"
)


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
    connection = _connect(path, check_same_thread=False)
    try:
        check(connection, path)
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        with transaction(connection):
            # Another writer may have made it since.
            if check(connection, path):
                create(connection)
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
        LogError: there is no such log, or it is damaged.
    """
    with open_to_read(path) as connection:
        return list(_models(connection).values())


def read(path: Path, model: str, since: float = 0.0) -> Logged:
    """Read the answers of one model, by its identity, from a time on.

    Raises:
        LogError: there is no such log, or it is damaged.
    """
    with open_to_read(path) as connection:
        found = list(_batches(connection, f"{ANSWERS} {OF_MODEL} ORDER BY time, id", (model, since)))
    columns = {name: [value for batch in found for value in batch.columns[name]] for name in COLUMNS}
    graphs = {batch.models[number].graph for batch in found for number in set(batch.columns["model"])}
    sample = Sample.of({name: columns[name] for name in FEATURES})
    return Logged(np.array(columns["time"], dtype=np.float64), sample, tuple(sorted(graphs)))


def read_all(path: Path) -> Iterator[Batch]:
    """Yield all answers of a log, of every model, in the order in which they were written.

    Raises:
        LogError: there is no such log, or it is damaged.
    """
    with open_to_read(path) as connection:
        yield from _batches(connection, f"{ANSWERS} ORDER BY id")


def _models(connection: sqlite3.Connection) -> dict[int, LoggedModel]:
    rows = connection.execute(MODELS).fetchall()
    return {number: LoggedModel.checked(*described) for number, *described in rows}


def _batches(connection: sqlite3.Connection, query: str, values: Row = ()) -> Iterator[Batch]:
    models = _models(connection)
    cursor = connection.execute(query, values)
    while rows := cursor.fetchmany(ROWS):
        yield Batch.checked(rows, models)


@contextmanager
def open_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that only reads, all of it as of one moment, while others write.

    Raises:
        LogError: there is no such log, it cannot be read, or the block finds it damaged.
    """
    if not path.is_file():
        hint = f"Make one: flowers classify PICTURES --log {in_shell(path)}"
        raise LogError(f"There is no log at {path}.", hint=hint)
    try:
        with closing(_connect_to_read(path)) as connection:
            connection.execute("BEGIN")
            if check(connection, path):
                raise LogError(f"{path} is empty: nothing was logged yet.")
            yield connection
    except (sqlite3.Error, UnicodeDecodeError) as error:  # Damage, and what SQLite quotes of it, may be no text.
        raise LogError(f"The log {path} cannot be read: {one_line(str(error))}.") from error
    except ValueError as error:
        raise LogError(f"The log {path} is damaged: {one_line(str(error))}.") from error


def _connect(path: Path | str, **options: Any) -> sqlite3.Connection:
    connection: sqlite3.Connection = sqlite3.connect(path, timeout=WAIT_FOR_OTHERS, isolation_level=None, **options)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(os.fsencode(path.resolve()))}?mode=ro"
    connection = _connect(address, uri=True)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:
        # A folder that may not be written to, where the file of the write-ahead log's index is to be.
        connection.close()
        return _connect(f"{address}&immutable=1", uri=True)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


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
