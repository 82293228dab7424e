"""The run folder: everything a run leaves behind, written while it trains by a thread of the store's own.

`<home>/runs/<id>/`: config.json (what the run is made of, and where), metrics.db (SQLite in WAL mode: packed blocks of
steps, looks, events, samples, and the state), frames in the same file (tables thinned for scrubbing), snapshots/ (see
`snapshot_files`), and lock, which is held for as long as a process writes here. What cannot be written is kept in
memory and tried again; the training never waits. Knows no screen.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
import traceback
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from engine import snapshot_files
from engine.config import InputError
from engine.snapshot import Snapshot
from engine.stream import Event, Observation, Record, Sample, Scalars, Turn, taken

FORMAT = 1
SECONDS = 0.5
BLOCK = np.dtype([("loss", "<f4"), ("grad_norm", "<f4"), ("lr", "<f8"), ("seconds", "<f4")])
LONGEST_BLOCK = 4096
MOST_FRAMES = 500
LARGEST_HALF = 6e4  # tables are kept in 16 bits a number, unless one is too large for them
MOST_WAITING = 2_000_000  # records kept while the disk refuses them
SCHEMA = """
CREATE TABLE IF NOT EXISTS steps (first INTEGER PRIMARY KEY, count INTEGER, data BLOB);
CREATE TABLE IF NOT EXISTS looks (step INTEGER, scalars TEXT);
CREATE TABLE IF NOT EXISTS frames (step INTEGER, name TEXT, rows INTEGER, cols INTEGER, data BLOB);
CREATE TABLE IF NOT EXISTS events (step INTEGER, name TEXT, text TEXT);
CREATE TABLE IF NOT EXISTS samples (step INTEGER, text TEXT, prompt INTEGER, confidence TEXT);
CREATE TABLE IF NOT EXISTS turns (step INTEGER, stages INTEGER, settings TEXT);
CREATE INDEX IF NOT EXISTS frames_step ON frames (name, step);
"""


class Locked(InputError):
    """Another process is writing this run."""


class Store:
    """A run folder that is being written."""

    def __init__(self, folder: Path, start: Mapping[str, Any], most_snapshots: int = 40, most_bytes: int = 2 << 30):
        self.folder = folder
        self.lacks: str | None = None
        """What could not even be handed over, in words."""
        self._trouble: str | None = None
        self._bounds = most_snapshots, most_bytes
        self._best: int | None = None
        self._asked: SimpleQueue[list[Record] | Snapshot | threading.Event] = SimpleQueue()
        self._waiting: deque[Record | Snapshot | threading.Event] = deque()
        self._frame_every = 1
        self._frames: dict[str, int] = {}
        self._closing = threading.Event()
        self._start = {"format": FORMAT, **start}
        self._lock: IO[bytes] | None = None
        with suppress(OSError):  # a disk that refuses now is asked again
            self._prepare()
        self._thread = threading.Thread(target=self._work, name=f"storing {folder.name}", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """What is not being saved, and why, in one sentence; None while all is well."""
        return self._trouble or self.lacks

    # ---------------------------------------------------------------- asked by anyone

    def put(self, records: Iterable[Record]) -> None:
        """Have these records written soon, in this order."""
        self._asked.put(list(records))

    def keep(self, snapshot: Snapshot, best: bool = False) -> None:
        """Have this snapshot written; the best, the first and the newest are never thinned out."""
        if best:
            self._best = snapshot.step
        self._asked.put(snapshot)

    def wait(self, timeout: float = 10.0) -> bool:
        """Wait until all that was put so far is on the disk; is it?"""
        written = threading.Event()
        self._asked.put(written)
        return written.wait(timeout)

    def discard(self) -> None:
        """Leave nothing behind: the run was never begun."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self, timeout: float = 10.0) -> bool:
        """Write what is left and let go of the folder; was everything written?"""
        self._closing.set()
        self._thread.join(timeout)
        return not self._thread.is_alive() and self.problem is None

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = hold(self.folder)
        snapshot_files.clear_partial(self.folder / "snapshots")
        config = self.folder / "config.json"
        if not config.exists() or not config.stat().st_size:
            config.write_text(json.dumps(self._start, indent=2) + "\n", encoding="utf-8")

    # ---------------------------------------------------------------- on the store's thread

    def _work(self) -> None:
        database = None
        try:
            while True:
                last = self._closing.wait(SECONDS)
                for item in taken(self._asked):
                    self._waiting.extend(item if isinstance(item, list) else [item])
                while len(self._waiting) > MOST_WAITING:
                    self._waiting.popleft()
                try:
                    if self._lock is None:
                        self._prepare()
                    if database is None:
                        database = opened(self.folder / "metrics.db")
                        self._continue(database)
                    self._write(database)
                    self._trouble = None
                except Exception as error:  # the thread must live: what is refused now is tried again
                    what = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
                    self._trouble = f"run {self.folder.name} is not being saved ({what}); free some space on that disk"
                    if not isinstance(error, OSError | sqlite3.Error):
                        traceback.print_exc()
                    self._keep_newest_snapshot()
                    if database is not None:
                        with suppress(sqlite3.Error):
                            database.rollback()
                if last:
                    return
        finally:
            if database is not None:
                database.close()
            if self._lock is not None:
                self._lock.close()

    def _continue(self, database: sqlite3.Connection) -> None:
        """Go on with the thinning of frames where an earlier process left it."""
        for name, count, last in database.execute("SELECT name, COUNT(*), MAX(step) FROM frames GROUP BY name"):
            self._frames[name] = last
            self._frame_every = max(self._frame_every, last // count)

    def _keep_newest_snapshot(self) -> None:
        """While the disk refuses, of the snapshots that wait only the newest is worth its memory."""
        snapshots = [item for item in self._waiting if isinstance(item, Snapshot)]
        for snapshot in snapshots[:-1]:
            self._waiting.remove(snapshot)

    def _write(self, database: sqlite3.Connection) -> None:
        """Everything that waits: metrics in one transaction, then the snapshots one by one."""
        waiting = list(self._waiting)
        records = [item for item in waiting if not isinstance(item, Snapshot | threading.Event)]
        asking = [item for item in waiting if isinstance(item, threading.Event)]
        snapshots = [item for item in waiting if isinstance(item, Snapshot)]
        if records:
            with database:
                self._write_records(database, records)
            self._waiting = deque([*snapshots, *asking])
        while snapshots:
            folder = self.folder / "snapshots"
            snapshot_files.write(folder, snapshots.pop(0))
            self._waiting = deque([*snapshots, *asking])
            snapshot_files.thin_out(folder, set() if self._best is None else {self._best}, *self._bounds)
        self._waiting.clear()
        for written in asking:
            written.set()

    def _write_records(self, database: sqlite3.Connection, records: list[Record]) -> None:
        rows = [record for record in records if type(record) is Scalars]
        database.executemany("INSERT OR REPLACE INTO steps VALUES (?, ?, ?)", blocks(rows))
        for record in records:
            if isinstance(record, Observation):
                if record.scalars:
                    told = json.dumps(dict(record.scalars), separators=(",", ":"))
                    database.execute("INSERT INTO looks VALUES (?, ?)", (record.step, told))
                self._write_frames(database, record)
            elif isinstance(record, Event):
                database.execute("INSERT INTO events VALUES (?, ?, ?)", record)
            elif isinstance(record, Sample):
                database.execute("INSERT INTO samples VALUES (?, ?, ?, ?)", record)
            elif isinstance(record, Turn):
                told = json.dumps(dict(record.settings), separators=(",", ":"))
                database.execute("INSERT INTO turns VALUES (?, ?, ?)", (record.step, record.stages, told))

    def _write_frames(self, database: sqlite3.Connection, record: Observation) -> None:
        """Tables for scrubbing: every look at first; when there are too many, every second one goes, and so on."""
        for name, table in record.tables.items():
            if record.step - self._frames.get(name, -self._frame_every) < self._frame_every:
                continue
            self._frames[name] = record.step
            exact = "<f2" if float(np.abs(table).max(initial=0)) < LARGEST_HALF else "<f4"
            data = zlib.compress(table.astype(exact).tobytes(), 1)
            database.execute("INSERT INTO frames VALUES (?, ?, ?, ?, ?)", (record.step, name, *table.shape, data))
            (count,) = database.execute("SELECT COUNT(*) FROM frames WHERE name = ?", (name,)).fetchone()
            if count > MOST_FRAMES:
                self._thin_frames(database, name)

    def _thin_frames(self, database: sqlite3.Connection, name: str) -> None:
        steps = [step for (step,) in database.execute("SELECT step FROM frames WHERE name = ? ORDER BY step", (name,))]
        gone = [(name, step) for step in steps[1:-1:2]]
        database.executemany("DELETE FROM frames WHERE name = ? AND step = ?", gone)
        self._frame_every = max(self._frame_every, 2 * steps[-1] // MOST_FRAMES)


def blocks(rows: list[Scalars]) -> Iterator[tuple[int, int, bytes]]:
    """Runs of consecutive steps, packed: the first step, how many, and their numbers, column by column."""
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
            yield part[0].step, len(part), zlib.compress(data, 1)
            start = end


def unpacked(count: int, data: bytes) -> NDArray[np.float64]:
    """A block's numbers (count, 4): loss, grad_norm, lr and seconds of each step."""
    raw, at, columns = zlib.decompress(data), 0, []
    for name in BLOCK.names or ():
        columns.append(np.frombuffer(raw, BLOCK[name], count, at))
        at += count * BLOCK[name].itemsize
    return np.stack(columns, axis=1).astype(np.float64)


def opened(path: Path) -> sqlite3.Connection:
    """The database at `path`, made where there is none."""
    database = sqlite3.connect(path, timeout=5, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.executescript(SCHEMA)
    return database


def hold(folder: Path) -> IO[bytes]:
    """The folder's lock, held until it is closed or the process ends however it may; Locked if another has it."""
    file = (folder / "lock").open("a+b")
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise Locked(f"run {folder.name} is being written by another process; stop that one first") from None
    return file


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """A run's metrics, opened to be read, while it is written too."""
    path = folder / "metrics.db"
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)
    try:
        yield database
    finally:
        database.close()


def is_held(folder: Path) -> bool:
    """Is a process writing this run now?"""
    try:
        hold(folder).close()
    except (Locked, OSError):
        return True
    return False
