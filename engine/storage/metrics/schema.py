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
    """The database at `path`, to be read while it may be being written. MetricsError."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)


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
