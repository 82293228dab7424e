"""The run folder: everything a run leaves behind, written while it trains by a thread of the store's own.

`<home>/runs/<id>/`: config.json (what the run is made of, and where), metrics.db (see `metrics`), snapshots/ (see
`snapshot_files`), and lock, which is held for as long as a process writes here. What cannot be written is kept in
memory and tried again; the training never waits. Knows no screen.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from engine import mailbox, snapshot_files
from engine.config import InputError
from engine.metrics import Writer, opened
from engine.snapshot import Snapshot
from engine.stream import Record, taken

FORMAT = 1
SECONDS = 0.5
LOOKS, LOOK_SECONDS = 10, 0.02  # somebody who asks whether a folder is held has its lock for an instant
MOST_WAITING = 2_000_000  # records kept while the disk refuses them


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
        self.best: int | None = None
        """The step of the snapshot with the lowest validation loss, which is never thinned out."""
        self._asked: SimpleQueue[list[Record] | Snapshot | threading.Event] = SimpleQueue()
        self._waiting: deque[Record | Snapshot | threading.Event] = deque()
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

    @property
    def closed(self) -> bool:
        """Has it let go of the folder?"""
        return not self._thread.is_alive()

    # ---------------------------------------------------------------- asked by anyone

    def put(self, records: Iterable[Record]) -> None:
        """Have these records written soon, in this order."""
        self._asked.put(list(records))

    def keep(self, snapshot: Snapshot, best: bool = False) -> None:
        """Have this snapshot written; the best, the first and the newest are never thinned out."""
        if best:
            self.best = snapshot.step
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
        mailbox.forget(self.folder)  # whoever listened there is gone
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
                        writer = Writer(database)
                    self._write(database, writer)
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

    def _keep_newest_snapshot(self) -> None:
        """While the disk refuses, of the snapshots that wait only the newest is worth its memory."""
        snapshots = [item for item in self._waiting if isinstance(item, Snapshot)]
        for snapshot in snapshots[:-1]:
            self._waiting.remove(snapshot)

    def _write(self, database: sqlite3.Connection, writer: Writer) -> None:
        """Everything that waits: metrics in one transaction, then the snapshots one by one."""
        waiting = list(self._waiting)
        records = [item for item in waiting if not isinstance(item, Snapshot | threading.Event)]
        asking = [item for item in waiting if isinstance(item, threading.Event)]
        snapshots = [item for item in waiting if isinstance(item, Snapshot)]
        if records:
            with database:
                writer.write(records)
            self._waiting = deque([*snapshots, *asking])
        while snapshots:
            folder = self.folder / "snapshots"
            snapshot_files.write(folder, snapshots.pop(0))
            self._waiting = deque([*snapshots, *asking])
            snapshot_files.thin_out(folder, set() if self.best is None else {self.best}, *self._bounds)
        self._waiting.clear()
        for written in asking:
            written.set()


def new_id() -> str:
    """A name that no other run has; names sort by time."""
    return time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(3)


def hold(folder: Path) -> IO[bytes]:
    """The folder's lock, held until it is closed or the process ends however it may; Locked if another has it."""
    file = (folder / "lock").open("a+b")
    for look in range(LOOKS):
        if _locked(file, shared=False):
            return file
        if look < LOOKS - 1:
            time.sleep(LOOK_SECONDS)
    file.close()
    raise Locked(f"run {folder.name} is being written by another process; stop that one first")


def is_held(folder: Path) -> bool:
    """Is a process writing this run now? Asking leaves nothing behind."""
    try:
        with (folder / "lock").open("rb" if os.name != "nt" else "r+b") as file:
            return not _locked(file, shared=True)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _locked(file: IO[bytes], shared: bool) -> bool:
    """Try once to lock an open file, beside others who ask too if `shared`; is it locked now?"""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
