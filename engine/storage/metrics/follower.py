"""Reads a run's metrics while they grow, so that each record is read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from ...stream.messages import Event, Observation, Sample, Turn
from .reader import MetricsReader
from .rows import (
    DamagedRow,
    StepBlock,
    decode_event,
    decode_named_table,
    decode_sample,
    decode_scalars,
    decode_steps,
    decode_turn,
)
from .schema import COLUMNS, generation

Decoded = TypeVar("Decoded")


class Rewound(Exception):
    """What was read is no longer there: the run was resumed from an earlier step, or is another one."""


class NewRecords(NamedTuple):
    """What came since the last reading."""

    blocks: list[StepBlock]
    records: list[Observation | Event | Sample]
    turns: list[Turn]


class MetricsFollower:
    """Remembers how far a run's metrics were read."""

    def __init__(self) -> None:
        self.damaged = 0
        """How many rows could not be read."""
        self._generation: int | None = None
        self._last_block = -1
        self._last_rows = dict.fromkeys(("looks", "frames", "events", "samples", "turns"), 0)

    def read_new(self, metrics: MetricsReader) -> NewRecords:
        """What came since the last call. Rewound where what came before has changed; MetricsError."""
        metrics.database.execute("BEGIN")  # one moment of the database, however many queries
        try:
            current = generation(metrics.database)
            if self._generation not in (None, current):
                raise Rewound
            self._generation = current
            blocks = list(self._new_blocks(metrics))
            records: list[Observation | Event | Sample] = [
                *self._new(metrics, "looks", decode_scalars),
                *self._newest_tables(metrics),
                *self._new(metrics, "events", decode_event),
                *self._new(metrics, "samples", decode_sample),
            ]
            return NewRecords(blocks, records, list(self._new(metrics, "turns", decode_turn)))
        finally:
            metrics.database.rollback()

    def _new_blocks(self, metrics: MetricsReader) -> Iterator[StepBlock]:
        query = f"SELECT {COLUMNS['steps']} FROM steps WHERE first > ? ORDER BY first"
        for row in metrics.database.execute(query, (self._last_block,)):
            self._last_block = row[0]
            yield from self._decoded(row, decode_steps)

    def _newest_tables(self, metrics: MetricsReader) -> Iterator[Observation]:
        """Of each name that has a new table only the newest: the others are over already."""
        query = "SELECT MAX(rowid), step, name, rows, cols, data FROM frames WHERE rowid > ? GROUP BY name"
        for place, *row in metrics.database.execute(query, (self._last_rows["frames"],)).fetchall():
            self._last_rows["frames"] = max(self._last_rows["frames"], place)
            yield from self._decoded(row, decode_named_table)

    def _new(self, metrics: MetricsReader, table: str, decode: Callable[..., Decoded]) -> Iterator[Decoded]:
        query = f"SELECT rowid, {COLUMNS[table]} FROM {table} WHERE rowid > ? ORDER BY rowid"
        for place, *row in metrics.database.execute(query, (self._last_rows[table],)):
            self._last_rows[table] = place
            yield from self._decoded(row, decode)

    def _decoded(self, row: Any, decode: Callable[..., Decoded]) -> Iterator[Decoded]:
        try:
            yield decode(*row)
        except DamagedRow:
            self.damaged += 1
