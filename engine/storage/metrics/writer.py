"""Writes a run's records into its database; steps in packed blocks, tables thinned for scrubbing."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from ...stream.downsampling import evenly_kept_indices
from ...stream.messages import Event, Observation, Record, Sample, Scalars, Turn
from ...stream.series import narrowed
from .loop_parser import MOST_CHANNELS, PART
from .rows import (
    PackedBlock,
    decode_scalars,
    decode_steps,
    encode_event,
    encode_sample,
    encode_scalars,
    encode_table,
    encode_turn,
    pack_steps,
)
from .schema import COLUMNS, connect, mark_rewritten

MOST_TABLES = 500  # of each name
MOST_SET_ASIDE = 2000  # points of a number, of an earlier part of a run


class MetricsWriter:
    """Writes records into a database, in the order in which they come. After a MetricsError a new one takes over."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._table_every = 1
        self._last_tables: dict[str, int] = {}
        (last,) = database.execute("SELECT MAX(first + count - 1) FROM steps").fetchone()
        self.last_step = int(last or 0)
        """The last step that was there at the beginning."""
        for name, count, last in database.execute("SELECT name, COUNT(*), MAX(step) FROM frames GROUP BY name"):
            self._last_tables[name] = last  # the thinning goes on where an earlier process left it
            self._table_every = max(self._table_every, last // count)

    @classmethod
    def open(cls, path: Path) -> Self:
        """A writer of the database at `path`, made where there is none. MetricsError."""
        database = connect(path)
        try:
            return cls(database)
        except BaseException:
            database.close()
            raise

    def write(self, records: Sequence[Record | PackedBlock]) -> None:
        """Write them all in one transaction, or none. MetricsError where the disk refuses."""
        with self._database:
            self._insert_all(records)

    def checkpoint(self) -> None:
        """Have the disk itself hold all that was written. MetricsError."""
        self._database.execute("PRAGMA wal_checkpoint")

    def close(self) -> None:
        """Let go of the database. MetricsError."""
        self._database.close()

    def _insert_all(self, records: Sequence[Record | PackedBlock]) -> None:
        packed = [record for record in records if type(record) is PackedBlock]
        rows = [record for record in records if type(record) is Scalars]
        self._database.executemany("INSERT OR REPLACE INTO steps VALUES (?, ?, ?)", [*packed, *pack_steps(rows)])
        for record in records:
            if isinstance(record, Observation):
                if record.scalars:
                    self._insert("looks", encode_scalars(record))
                self._insert_tables(record)
            elif isinstance(record, Event):
                self._insert("events", encode_event(record))
            elif isinstance(record, Sample):
                self._insert("samples", encode_sample(record))
            elif isinstance(record, Turn):
                self._insert_turn(record)

    def _insert(self, table: str, row: tuple[object, ...]) -> None:
        places = ", ".join("?" * len(row))
        self._database.execute(f"INSERT INTO {table} ({COLUMNS[table]}) VALUES ({places})", row)

    def _insert_turn(self, turn: Turn) -> None:
        """New settings, in place of those that an abandoned future had from here on."""
        abandoned = "DELETE FROM turns WHERE step > ? OR step = ? AND stages > ?"
        if self._database.execute(abandoned, (turn.step, turn.step, turn.stages)).rowcount:
            mark_rewritten(self._database)  # the new row may get the rowid of one that was read already
        self._insert("turns", encode_turn(turn))

    def _insert_tables(self, record: Observation) -> None:
        """Tables for scrubbing: all of them at first; when there are too many, every second one goes, and so on."""
        for name, table in record.tables.items():
            if record.step - self._last_tables.get(name, -self._table_every) < self._table_every:
                continue
            self._last_tables[name] = record.step
            self._insert("frames", encode_table(record.step, name, table))
            (count,) = self._database.execute("SELECT COUNT(*) FROM frames WHERE name = ?", (name,)).fetchone()
            if count > MOST_TABLES:
                self._thin_tables(name)

    def _thin_tables(self, name: str) -> None:
        found = self._database.execute("SELECT step FROM frames WHERE name = ? ORDER BY step", (name,))
        steps = [step for (step,) in found]
        superfluous = [(name, step) for step in steps[1:-1:2]]
        self._database.executemany("DELETE FROM frames WHERE name = ? AND step = ?", superfluous)
        self._table_every = max(self._table_every, 2 * steps[-1] // MOST_TABLES)


def set_aside(database: sqlite3.Connection, part: int) -> None:
    """Keep what was recorded so far under the names of this part, thinned, so that steps can be counted anew.

    Tables, rates and times of the part are let go; of all parts together at most MOST_CHANNELS numbers stay.
    """
    told: dict[str, list[tuple[int, float]]] = {}
    for row in database.execute(f"SELECT {COLUMNS['steps']} FROM steps ORDER BY first"):
        for scalars in decode_steps(*row).scalars():
            told.setdefault("loss", []).append((scalars.step, scalars.loss))
            told.setdefault("grad_norm", []).append((scalars.step, scalars.grad_norm))
    for row in database.execute(f"SELECT {COLUMNS['looks']} FROM looks ORDER BY rowid"):
        look = decode_scalars(*row)
        for name, value in look.scalars.items():
            told.setdefault(name, []).append((look.step, value))
    this = [name for name in told if PART not in name]
    earlier = [name for name in told if PART in name]
    kept: list[Record] = []
    for name in [*this, *reversed(earlier)][:MOST_CHANNELS]:
        points = np.array([point for point in told[name] if math.isfinite(point[1])], np.float64).reshape(-1, 2)
        places = evenly_kept_indices(points[:, 0].astype(np.uint32), narrowed(points[:, 1]), MOST_SET_ASIDE)
        whole = name if PART in name else f"{name}{PART}{part})"
        kept += [Observation(int(step), {whole: value}, {}) for step, value in points[places].tolist()]
    with database:
        for table in ("steps", "looks", "frames", "turns"):
            database.execute(f"DELETE FROM {table}")
        mark_rewritten(database)
    MetricsWriter(database).write(kept)


def rewind_metrics(path: Path, step: int, forget_turns: bool = True) -> None:
    """Delete from the database at `path` what was recorded after `step`; turned settings only if `forget_turns`.

    MetricsError, or DamagedRow where the block of `step` cannot be read.
    """
    database = connect(path)
    try:
        with database:
            across = database.execute(
                "SELECT first, count, data FROM steps WHERE first <= ? AND first + count - 1 > ?", (step, step)
            ).fetchall()
            database.execute("DELETE FROM steps WHERE first + count - 1 > ?", (step,))
            for row in across:
                kept = [scalars for scalars in decode_steps(*row).scalars() if scalars.step <= step]
                database.executemany("INSERT INTO steps VALUES (?, ?, ?)", pack_steps(kept))
            for table in ("looks", "frames", "events", "samples"):
                database.execute(f"DELETE FROM {table} WHERE step > ?", (step,))
            if forget_turns:
                database.execute("DELETE FROM turns WHERE step > ? OR step = ? AND stages > 0", (step, step))
            mark_rewritten(database)
    finally:
        database.close()
