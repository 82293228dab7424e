"""A run's numbers, events, samples and tables as a database: SQLite in WAL mode, read while it is written.

Steps are kept in packed blocks, tables thinned for scrubbing. A folder whose run is told in lines (`lines`) reads as
one, too. Knows no folder's life and no screen.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..stream.messages import Event, Observation, Record, Sample, Scalars, Turn
from . import json_lines
from .json_lines import GrowingFile, JsonLineParser, Recorded, Replaced

BLOCK = np.dtype([("loss", "<f4"), ("grad_norm", "<f4"), ("lr", "<f8"), ("seconds", "<f4")])
LONGEST_BLOCK = 4096
MOST_FRAMES = 500
LARGEST_HALF = 6e4  # tables are kept in 16 bits a number, unless one is too large for them
SCHEMA = """
CREATE TABLE IF NOT EXISTS steps (first INTEGER PRIMARY KEY, count INTEGER, data BLOB);
CREATE TABLE IF NOT EXISTS looks (step INTEGER, scalars TEXT);
CREATE TABLE IF NOT EXISTS frames (step INTEGER, name TEXT, rows INTEGER, cols INTEGER, data BLOB);
CREATE TABLE IF NOT EXISTS events (step INTEGER, name TEXT, text TEXT);
CREATE TABLE IF NOT EXISTS samples (step INTEGER, text TEXT, prompt INTEGER, confidence TEXT);
CREATE TABLE IF NOT EXISTS turns (step INTEGER, stages INTEGER, settings TEXT);
CREATE INDEX IF NOT EXISTS frames_step ON frames (name, step);
"""


class Block(NamedTuple):
    """Consecutive steps, packed: the first one, how many, and their numbers, column by column, compressed."""

    first: int
    steps: int
    data: bytes


class Writer:
    """Writes records into a database, in the order in which they come."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._frame_every = 1
        self._frames: dict[str, int] = {}
        (last,) = database.execute("SELECT MAX(first + count - 1) FROM steps").fetchone()
        self.reached = int(last or 0)
        """The last step that was there at the beginning."""
        for name, count, last in database.execute("SELECT name, COUNT(*), MAX(step) FROM frames GROUP BY name"):
            self._frames[name] = last  # the thinning goes on where an earlier process left it
            self._frame_every = max(self._frame_every, last // count)

    def write(self, records: Sequence[Record | Block]) -> None:
        """Within a transaction of the caller's. sqlite3.Error where the disk refuses; another writer begins anew."""
        database = self._database
        packed = [record for record in records if type(record) is Block]
        rows = [record for record in records if type(record) is Scalars]
        database.executemany("INSERT OR REPLACE INTO steps VALUES (?, ?, ?)", [*packed, *blocks(rows)])
        for record in records:
            if isinstance(record, Observation):
                if record.scalars:
                    told = json.dumps(dict(record.scalars), separators=(",", ":"))
                    database.execute("INSERT INTO looks VALUES (?, ?)", (record.step, told))
                self._write_frames(record)
            elif isinstance(record, Event):
                event = (record.step, record.name, _whole_characters(record.text))
                database.execute("INSERT INTO events VALUES (?, ?, ?)", event)
            elif isinstance(record, Sample):
                sample = (record.step, _whole_characters(record.text), record.prompt, record.confidence)
                database.execute("INSERT INTO samples VALUES (?, ?, ?, ?)", sample)
            elif isinstance(record, Turn):
                told = json.dumps(dict(record.settings), separators=(",", ":"))
                # those that a past had from here on, which is not gone on with
                gone = "DELETE FROM turns WHERE step > ? OR step = ? AND stages > ?"
                database.execute(gone, (record.step, record.step, record.stages))
                database.execute("INSERT INTO turns VALUES (?, ?, ?)", (record.step, record.stages, told))

    def _write_frames(self, record: Observation) -> None:
        """Tables for scrubbing: every look at first; when there are too many, every second one goes, and so on."""
        database = self._database
        for name, table in record.tables.items():
            if record.step - self._frames.get(name, -self._frame_every) < self._frame_every:
                continue
            self._frames[name] = record.step
            exact = "<f2" if float(np.abs(table).max(initial=0)) < LARGEST_HALF else "<f4"
            data = zlib.compress(table.astype(exact).tobytes(), 1)
            database.execute("INSERT INTO frames VALUES (?, ?, ?, ?, ?)", (record.step, name, *table.shape, data))
            (count,) = database.execute("SELECT COUNT(*) FROM frames WHERE name = ?", (name,)).fetchone()
            if count > MOST_FRAMES:
                self._thin_frames(name)

    def _thin_frames(self, name: str) -> None:
        database = self._database
        steps = [step for (step,) in database.execute("SELECT step FROM frames WHERE name = ? ORDER BY step", (name,))]
        gone = [(name, step) for step in steps[1:-1:2]]
        database.executemany("DELETE FROM frames WHERE name = ? AND step = ?", gone)
        self._frame_every = max(self._frame_every, 2 * steps[-1] // MOST_FRAMES)


def _whole_characters(text: str) -> str:
    """`text` with "?" for each half of a character: SQLite refuses them, and whatever waits behind them."""
    return text.encode(errors="replace").decode()


def blocks(rows: list[Scalars]) -> Iterator[Block]:
    """Runs of consecutive steps, packed."""
    start = 0
    for end in range(1, len(rows) + 1):
        broken = end == len(rows) or rows[end].step != rows[end - 1].step + 1
        if broken or end - start == LONGEST_BLOCK:
            part = rows[start:end]
            columns = zip(*part, strict=True)
            next(columns)
            with np.errstate(over="ignore"):  # a diverging loss: infinite in 32 bits, as it is on the charts
                packed = [
                    np.array(column).astype(BLOCK[name])
                    for name, column in zip(BLOCK.names or (), columns, strict=True)
                ]
            data = b"".join(column.tobytes() for column in packed)
            yield Block(part[0].step, len(part), zlib.compress(data, 1))
            start = end


def unpacked(count: int, data: bytes) -> NDArray[np.float64]:
    """A block's numbers (count, 4): loss, grad_norm, lr and seconds of each step."""
    if not 0 < count <= LONGEST_BLOCK:
        raise ValueError(f"a block of {count} steps")
    raw, at, columns = inflated(data, count * BLOCK.itemsize), 0, []
    for name in BLOCK.names or ():
        columns.append(np.frombuffer(raw, BLOCK[name], count, at))
        at += count * BLOCK[name].itemsize
    return np.stack(columns, axis=1).astype(np.float64)


def inflated(data: bytes, size: int) -> bytes:
    """What `data` holds compressed, if it is whole and `size` bytes long; zlib.error or ValueError if not."""
    inflating = zlib.decompressobj()
    raw = inflating.decompress(data, size + 1)
    if len(raw) != size or not inflating.eof:
        raise ValueError(f"not {size} bytes")
    return raw


def renewed(database: sqlite3.Connection) -> None:
    """Mark that what was there before may be gone: whoever follows begins anew."""
    database.execute(f"PRAGMA user_version = {secrets.randbits(31)}")


def opened(path: Path) -> sqlite3.Connection:
    """The database at `path`, made where there is none."""
    database = sqlite3.connect(path, timeout=5, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.executescript(SCHEMA)
    if database.execute("PRAGMA user_version").fetchone() == (0,):
        renewed(database)  # a new one: whoever followed another at this place notices
    return database


class Transcript:
    """What a run's lines have told so far, as a database in this process's memory."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / json_lines.FILE
        self._lock = threading.RLock()
        self._begin()

    def _begin(self) -> None:
        self.told = Recorded.of({})
        self.unread = 0
        """How many lines could not be read, or said what is not possible."""
        self.fault = ""
        """What was wrong with the first of them."""
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.executescript(SCHEMA)
        renewed(self._database)
        self._writer, self._teller, self._tail, self._count = (
            Writer(self._database),
            JsonLineParser(),
            GrowingFile(self._path),
            0,
        )
        self._writer.write([Event(0, "started", "started")])

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """All that the whole lines say by now; others wait until this one has read. OSError."""
        with self._lock:
            self.catch_up()
            yield self._database

    def catch_up(self) -> None:
        """Take in the lines that came; all of them anew where the file is another one."""
        with self._lock:
            try:
                for piece in self._tail.more():
                    self._take(piece)
            except Replaced:
                self._begin()
                self.catch_up()

    def _take(self, piece: list[bytes | None]) -> None:
        records: list[Record] = []
        for line in piece:
            self._count += 1
            try:
                if line is None:
                    raise InputError(f"it is longer than {json_lines.LONGEST_LINE:,} bytes")
                told = json_lines.records_of(line, self._teller)
            except InputError as error:
                self.unread += 1
                self.fault = self.fault or f"line {self._count:,}: {error}"
                continue
            if isinstance(told, Recorded):
                self.told = told
            else:
                records.extend(told)
        with self._database:
            self._writer.write(records)


@lru_cache(maxsize=32)
def transcript(folder: Path) -> Transcript:
    """The transcript of the run in `folder`, one a process."""
    return Transcript(folder)


def in_lines(folder: Path) -> bool:
    """Is the run in `folder` told in lines?"""
    return not os.path.lexists(folder / "metrics.db") and os.path.lexists(folder / json_lines.FILE)


def has_metrics(folder: Path) -> bool:
    """Has the run in `folder` told anything yet?"""
    return os.path.lexists(folder / "metrics.db") or in_lines(folder)


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """A run's metrics, opened to be read, while it is written too."""
    if in_lines(folder):
        with transcript(folder).reading() as database:
            yield database
        return
    path = folder / "metrics.db"
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)
    try:
        yield database
    finally:
        database.close()
