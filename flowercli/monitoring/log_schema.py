"""What a log is as an SQLite database: two tables and nothing else, for all that SQLite keeps there is a program."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from flowercli.errors import LogError
from flowercli.installation import upgrade
from flowercli.shown import in_shell, one_line

if TYPE_CHECKING:
    from pathlib import Path

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
