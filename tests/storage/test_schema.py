"""The database of a new run, as somebody finds it who looks in while it is being made."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.storage.metrics import schema

TABLES = frozenset(schema.COLUMNS)


def test_a_new_database_has_all_its_tables_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, open_database = tmp_path / schema.FILE, sqlite3.connect
    found: set[frozenset[str]] = set()

    def look(_: str) -> None:
        with closing(open_database(path)) as database:
            names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            found.add(frozenset(name for (name,) in names))

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        database = open_database(*arguments, **options)
        database.set_trace_callback(look)  # before each statement
        return database

    monkeypatch.setattr(sqlite3, "connect", watched)
    with closing(schema.connect(path)):
        look("at the end")
    assert found == {frozenset(), TABLES}
