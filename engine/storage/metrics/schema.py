"""The database `metrics.db` of a run folder: its tables, its generation, and how it is opened.

SQLite in WAL mode, read while it is written. Earlier versions wrote the same tables: none may change its columns.
"""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

FILE = "metrics.db"
MetricsError = sqlite3.Error
"""What a database raises that is damaged, or whose disk refuses."""
MOST_OPERATIONS = 200_000_000
"""Of SQLite's, in all that is read through one connection; about ten seconds of its own time."""
LONGEST_CELL = 80_000_000  # bytes; a table of 4,096 rows and columns has 67 million
MOST_NAMES = 1000
"""Of channels, and of tables: more than any model has layers."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS steps (first INTEGER PRIMARY KEY, count INTEGER, data BLOB);
CREATE TABLE IF NOT EXISTS looks (step INTEGER, scalars TEXT);
CREATE TABLE IF NOT EXISTS frames (step INTEGER, name TEXT, rows INTEGER, cols INTEGER, data BLOB);
CREATE TABLE IF NOT EXISTS events (step INTEGER, name TEXT, text TEXT);
CREATE TABLE IF NOT EXISTS samples (step INTEGER, text TEXT, prompt INTEGER, confidence TEXT);
CREATE TABLE IF NOT EXISTS turns (step INTEGER, stages INTEGER, settings TEXT);
CREATE INDEX IF NOT EXISTS frames_step ON frames (name, step);
"""
COLUMNS = {
    "steps": "first, count, data",
    "looks": "step, scalars",
    "frames": "step, name, rows, cols, data",
    "events": "step, name, text",
    "samples": "step, text, prompt, confidence",
    "turns": "step, stages, settings",
}
"""Of each table in the order of its row: packed steps, scalars measured on a cadence, tables of numbers, and so on."""


class TooMuch(sqlite3.DatabaseError):
    """The run holds more than one can: a sentence with what and how much, without the folder's name."""


def connect(path: Path) -> sqlite3.Connection:
    """The database at `path`, to be written; made where there is none. MetricsError."""
    database = sqlite3.connect(path, timeout=5, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    if generation(database) == 0:  # a new one: whoever followed another at this place notices
        mark_rewritten(database)  # before there are tables: nobody reads it without its generation
    database.executescript(f"BEGIN; {SCHEMA} COMMIT;")  # all at once: nobody finds some tables without the others
    return database


def connect_read_only(path: Path) -> sqlite3.Connection:
    """The database at `path`, to be read while it may be being written. MetricsError.

    A folder may come from anywhere: a view in the place of a table is refused, and reading without an end ends.
    """
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)
    try:
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_CELL)
        _limit_operations(database)
        _check_tables(database)
    except BaseException:
        database.close()
        raise
    return database


def _limit_operations(database: sqlite3.Connection) -> None:
    """Have a query interrupted once so many operations were made, however busy the machine is."""
    each, made = 100_000, 0

    def count() -> bool:
        nonlocal made
        made += each
        return made > MOST_OPERATIONS

    database.set_progress_handler(count, each)


def _check_tables(database: sqlite3.Connection) -> None:
    """TooMuch where one of the tables is a view, a virtual table or computed: what stands behind it may be endless."""
    kinds = {name.lower(): kind for _, name, kind, *_ in database.execute("PRAGMA main.table_list")}
    for name in COLUMNS:
        if kinds.get(name, "table") != "table":
            raise TooMuch(f"{name} in {FILE} is no table")
        if any(hidden for *_, hidden in database.execute(f"PRAGMA main.table_xinfo({name})")):
            raise TooMuch(f"{name} in {FILE} has computed columns")


def connect_memory() -> sqlite3.Connection:
    """An empty database in this process's memory."""
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.executescript(SCHEMA)
    mark_rewritten(database)
    return database


def generation(database: sqlite3.Connection) -> int:
    """A number that changes when rows that were there may be gone; new rows leave it as it is."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)


def mark_rewritten(database: sqlite3.Connection) -> None:
    """Begin a new generation: whoever follows the database reads it anew."""
    database.execute(f"PRAGMA user_version = {secrets.randbits(31)}")
