"""Everything that is asked of a run's metrics, as records; rows are decoded by `rows`, and damaged ones counted."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ...config import MAX_STEPS
from ...stream.messages import EACH_STEP, Event, Floats, Observation, Sample, Turn
from . import json_lines
from .loop_parser import PART
from .rows import (
    DamagedRow,
    StepBlock,
    decode_event,
    decode_named_table,
    decode_sample,
    decode_scalars,
    decode_step,
    decode_steps,
    decode_table,
    decode_turn,
)
from .schema import COLUMNS, FILE, MOST_NAMES, TooMuch, connect_read_only
from .transcript import transcript_of

MOST_ENTRIES = 20_000  # events, or samples, the newest ones
MOST_AT_ONCE = 100  # events at one step
MOST_DAMAGED = 10_000  # rows of one table
NEWEST_OBSERVATIONS = 8  # of which some measured the layers and some the validation loss
VAL_LOSS = "val/loss"
Decoded = TypeVar("Decoded")


class MetricsReader:
    """Reads a run's metrics, while they may be being written. Each method may raise MetricsError.

    What is said to skip damaged rows counts them in `damaged`, by table; the others raise DamagedRow.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        self.damaged = Counter[str]()

    # ---------------------------------------------------------------- all of a kind, in order

    def step_blocks(self) -> Iterator[StepBlock]:
        """Every step's numbers, in blocks; skips damaged ones."""
        return self._decoded("steps", self._select("steps", "ORDER BY first"), decode_steps)

    def observations(self) -> Iterator[Observation]:
        """The scalars measured on a cadence, without tables; skips damaged rows."""
        names: set[str] = set()
        for record in self._decoded("looks", self._select("looks", "ORDER BY rowid"), decode_scalars):
            names |= record.scalars.keys()
            _check_count(len(names), "channels")
            yield record

    def newest_tables(self) -> Iterator[Observation]:
        """The newest table of each name; skips damaged ones."""
        self._table_names()
        newest = self.database.execute("SELECT MAX(step), name, rows, cols, data FROM frames GROUP BY name")
        return self._decoded("frames", newest, decode_named_table)

    def events(self) -> Iterator[Event]:
        """What happened, the newest MOST_ENTRIES of it; skips damaged rows."""
        return self._decoded("events", self._newest_of("events"), decode_event)

    def samples(self) -> Iterator[Sample]:
        """The texts that the model wrote, the newest MOST_ENTRIES of them; skips damaged rows."""
        return self._decoded("samples", self._newest_of("samples"), decode_sample)

    def turns(self) -> Iterator[Turn]:
        """All changes of the live settings; skips damaged rows."""
        return self._decoded("turns", self._select("turns", "ORDER BY rowid"), decode_turn)

    # ---------------------------------------------------------------- where the run stands

    def last_step(self) -> int:
        """The last step that was recorded; a recorded run may have no loss at all, only measurements. DamagedRow."""
        (last,) = self.database.execute("SELECT MAX(first + count - 1) FROM steps").fetchone()
        if last is None:
            newest = "SELECT MAX(step) FROM looks WHERE NOT instr(scalars, ?)"  # of the part that goes on
            (last,) = self.database.execute(newest, (PART,)).fetchone()
        return decode_step(last or 0)

    def last_event_name(self, names: Collection[str]) -> str | None:
        """Which of these events came last; None if none did."""
        marks = ", ".join("?" * len(names))
        query = f"SELECT name FROM events WHERE name IN ({marks}) ORDER BY rowid DESC LIMIT 1"
        found = self.database.execute(query, tuple(names)).fetchone()
        return None if found is None else str(found[0])

    def val_losses(self) -> list[tuple[int, float]]:
        """Step and validation loss of each measurement of it, by step. DamagedRow."""
        rows = self._select("looks", "WHERE instr(scalars, ?) ORDER BY step", f'"{VAL_LOSS}"')
        found = [decode_scalars(*row) for row in rows]
        if any(VAL_LOSS not in record.scalars for record in found):
            raise DamagedRow(f"{VAL_LOSS} is not a number")
        return [(record.step, record.scalars[VAL_LOSS]) for record in found]

    def turns_between(self, first: int, last: int = MAX_STEPS) -> list[Turn]:
        """Changes of the live settings from step `first` on up to where `last` updates are made. DamagedRow."""
        between = "WHERE step >= ? AND (step < ? OR step = ? AND stages = 0) ORDER BY rowid"
        return [decode_turn(*row) for row in self._select("turns", between, first, last, last)]

    def turn_before(self, step: int) -> Turn | None:
        """The newest change of the live settings after at most `step` whole updates. DamagedRow."""
        newest = "WHERE step <= ? AND stages = 0 ORDER BY rowid DESC LIMIT 1"
        row = self._select("turns", newest, step).fetchone()
        return None if row is None else decode_turn(*row)

    def newest_fork(self) -> tuple[int, list[Event]]:
        """The step at which the run was forked, and what happened there since; (0, []) for one that was not."""
        (row, step), *_ = self.database.execute("SELECT MAX(rowid), step FROM events WHERE name = 'forked'")
        since = self._select("events", "WHERE rowid > ? AND step = ? ORDER BY rowid LIMIT ?", row, step, MOST_AT_ONCE)
        return step or 0, list(self._decoded("events", since, decode_event))

    # ---------------------------------------------------------------- what was on show at a step

    def table_steps(self, name: str | None = None) -> list[int]:
        """The steps that a table is stored of, in order; of the one called `name`, or of any."""
        where = "" if name is None else "WHERE name = ?"
        names = () if name is None else (name,)
        rows = self.database.execute(f"SELECT DISTINCT step FROM frames {where} ORDER BY step", names)
        return [step for (step,) in rows]

    def table_step_before(self, step: int) -> int | None:
        """The newest step at or before `step` that a table is stored of; None if there is none."""
        (found,) = self.database.execute("SELECT MAX(step) FROM frames WHERE step <= ?", (step,)).fetchone()
        return None if found is None else int(found)

    def table_shapes(self) -> list[tuple[str, int, int]]:
        """Name, rows and columns of each kind of stored table, by name from the last to the first."""
        self._table_names()
        query = "SELECT name, rows, cols FROM frames GROUP BY name ORDER BY name DESC"
        return self.database.execute(query).fetchall()

    def table(self, name: str, step: int) -> Floats:
        """The table called `name` as it was stored at `step`. DamagedRow, also where there is none."""
        query = "SELECT rows, cols, data FROM frames WHERE name = ? AND step = ?"
        row = self.database.execute(query, (name, step)).fetchone()
        if row is None:
            raise DamagedRow(f"there is no table {name} of step {step}")
        return decode_table(*row)

    def tables_before(self, step: int) -> dict[str, Floats]:
        """Of each name the newest table at or before `step`. DamagedRow."""
        names = self._table_names()
        query = "SELECT rows, cols, data FROM frames WHERE name = ? AND step <= ? ORDER BY step DESC LIMIT 1"
        found = {name: self.database.execute(query, (name, step)).fetchone() for name in names}
        return {name: decode_table(*row) for name, row in found.items() if row is not None}

    def scalars_before(self, step: int) -> dict[str, float]:
        """Of each channel the newest value at or before `step`, as far as it was measured lately. DamagedRow."""
        scalars: dict[str, float] = {}
        newest = "WHERE step <= ? ORDER BY rowid DESC LIMIT ?"
        for row in self._select("looks", newest, step, NEWEST_OBSERVATIONS):
            scalars = {**decode_scalars(*row).scalars, **scalars}
        row = self._select("steps", "WHERE first <= ? ORDER BY first DESC LIMIT 1", step).fetchone()
        if row is not None:
            block = decode_steps(*row)
            if step <= block.last:
                numbers = block.numbers[step - block.first].tolist()
                scalars |= dict(zip(EACH_STEP, numbers, strict=True))
        return scalars

    def sample_before(self, step: int) -> Sample | None:
        """The newest sample at or before `step`. DamagedRow."""
        row = self._select("samples", "WHERE step <= ? ORDER BY step DESC, rowid DESC LIMIT 1", step).fetchone()
        return None if row is None else decode_sample(*row)

    # ---------------------------------------------------------------- all of it

    def copy_to(self, path: Path) -> None:
        """Leave a copy of the whole database at `path`."""
        with closing(sqlite3.connect(path)) as copy:
            self.database.backup(copy)

    def check_names(self) -> None:
        """TooMuch where it has more channels, or tables, than a run can have."""
        self._table_names()
        for _ in self.observations():
            pass

    def _table_names(self) -> list[str]:
        """The name of each kind of stored table; TooMuch where there are more than a run can have."""
        found = self.database.execute("SELECT DISTINCT name FROM frames LIMIT ?", (MOST_NAMES + 1,)).fetchall()
        _check_count(len(found), "tables")
        return [name for (name,) in found]

    def _newest_of(self, table: str) -> sqlite3.Cursor:
        return self._select(table, f"WHERE rowid > (SELECT MAX(rowid) FROM {table}) - ? ORDER BY rowid", MOST_ENTRIES)

    def _select(self, table: str, rest: str, *parameters: object) -> sqlite3.Cursor:
        return self.database.execute(f"SELECT {COLUMNS[table]} FROM {table} {rest}", parameters)

    def _decoded(
        self, table: str, rows: Iterable[tuple[Any, ...]], decode: Callable[..., Decoded]
    ) -> Iterator[Decoded]:
        for row in rows:
            try:
                decoded = decode(*row)
            except DamagedRow:
                self.damaged[table] += 1
                if self.damaged[table] > MOST_DAMAGED:
                    raise TooMuch(f"more than {MOST_DAMAGED:,} rows of {table} are damaged") from None
                continue
            yield decoded


def is_json_lines(folder: Path) -> bool:
    """Is the run in `folder` told in lines of JSON?"""
    return not os.path.lexists(folder / FILE) and os.path.lexists(folder / json_lines.FILE)


def has_metrics(folder: Path) -> bool:
    """Has the run in `folder` recorded anything yet?"""
    return os.path.lexists(folder / FILE) or os.path.lexists(folder / json_lines.FILE)


@contextmanager
def open_metrics(folder: Path) -> Iterator[MetricsReader]:
    """A run's metrics, opened to be read, while they are written too. MetricsError, or OSError of lines of JSON."""
    if is_json_lines(folder):
        with transcript_of(folder).open() as database:
            yield MetricsReader(database)
        return
    with closing(connect_read_only(folder / FILE)) as database:
        yield MetricsReader(database)


def _check_count(count: int, kind: str) -> None:
    if count > MOST_NAMES:
        raise TooMuch(f"it has more than {MOST_NAMES:,} {kind}")
