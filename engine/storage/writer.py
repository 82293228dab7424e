"""Writes a run's folder while it trains, on a thread of its own; the training never waits for the disk.

`<home>/runs/<id>/`: config.json (`manifest`), metrics.db (`metrics`), snapshots/ (`checkpoint_files`), and lock, which
is held for as long as a process writes here. What cannot be written is kept in memory and tried again.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from ..stream.messages import Record, drain_queue
from ..training.checkpoint import Snapshot
from . import checkpoint_files, command_inbox, manifest
from .lock import RunLocked, acquire_lock, is_still_in
from .metrics import schema
from .metrics.schema import MetricsError
from .metrics.writer import MetricsWriter
from .write_buffer import Item, WriteBuffer

SECONDS = 0.5


class RunWriter:
    """Writes one run folder: records, snapshots and config.json."""

    def __init__(self, folder: Path, start: Mapping[str, Any], most_snapshots: int = 40, most_bytes: int = 2 << 30):
        self.folder = folder
        self.missing: str | None = None
        """What could not even be handed over, or was taken away, in words."""
        self.untaken: str | None = None
        """Why the last snapshot that was due could not be taken, in words; None once one was."""
        self.best: int | None = None
        """The step of the snapshot with the lowest validation loss, which is never thinned out."""
        self._write_problem: str | None = None
        self._bounds = most_snapshots, most_bytes
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._buffer = WriteBuffer()
        self._closing = threading.Event()
        self._closing_soon = False
        self._start: Mapping[str, Any] = {"format": manifest.FORMAT, **start}
        self._lock: IO[bytes] | None = None
        self._metrics: MetricsWriter | None = None
        with suppress(OSError, MetricsError):  # a disk that refuses now is asked again
            self._prepare()
        self._thread = threading.Thread(target=self._run, name=f"storing {folder.name}", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """What is not being saved, and why, in one sentence; None while all is well."""
        return self._write_problem or self.untaken or self.missing

    @property
    def closed(self) -> bool:
        """Has it let go of the folder?"""
        return not self._thread.is_alive()

    # ---------------------------------------------------------------- called from any thread

    def put(self, records: Iterable[Record]) -> None:
        """Have these records written soon, in this order."""
        self._queue.put(list(records))

    def save_snapshot(self, snapshot: Snapshot, best: bool = False) -> None:
        """Have this snapshot written, once the records of all its steps are; best, first and newest stay for good."""
        if best:
            self.best = snapshot.step
        self._queue.put(snapshot)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that was put so far is on the disk; is it?"""
        written = threading.Event()
        self._queue.put(written)
        return written.wait(timeout)

    def discard(self) -> None:
        """Leave nothing behind: the run was never begun."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close_soon(self) -> None:
        """Have what is left written and the folder let go of, without waiting. Takes no lock: a finalizer may call."""
        self._closing_soon = True

    def leave_to_parent(self) -> None:
        """In a forked process: let go of this process's copy of the lock, which would outlive the one that writes."""
        if self._lock is not None:
            with suppress(OSError):
                self._lock.close()

    def close(self, timeout: float = 10.0) -> bool:
        """Write what is left and let go of the folder; was everything written?"""
        self._closing.set()
        self._thread.join(timeout)
        return not self._thread.is_alive() and self.problem is None

    def _prepare(self) -> None:
        """Make the folder, hold it, and have its config.json in it; OSError or MetricsError where the disk refuses."""
        lock = acquire_lock(self.folder) if self.folder.exists() else self._make_folder()
        try:
            command_inbox.close_inbox(self.folder)  # whoever listened there is gone
            checkpoint_files.clear_partial(self.folder / "snapshots")
            if (self.folder / manifest.FILE).exists():
                with suppress(ValueError):
                    self._start = manifest.read(self.folder)  # a folder that is taken away is made again with it
            else:
                manifest.write(self.folder, self._start)
        except BaseException:
            lock.close()
            raise
        self._lock = lock

    def _make_folder(self) -> IO[bytes]:
        """Make it, held and with all that a run needs, under its name at last: a kill leaves a whole run, or none."""
        begun = self.folder.with_name(f".{self.folder.name}")
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir(parents=True)
        manifest.write(begun, self._start)
        schema.connect(begun / schema.FILE).close()
        if os.name == "nt":  # where no folder is renamed that has an open file
            begun.rename(self.folder)
            return acquire_lock(self.folder)
        lock = acquire_lock(begun)
        try:
            begun.rename(self.folder)
        except BaseException:
            lock.close()
            raise
        return lock

    # ---------------------------------------------------------------- on the writing thread

    def _run(self) -> None:
        try:
            last, pause = False, 0.0  # at first more often: a kill at once leaves a run that can be opened
            while not last:
                last = self._closing.wait(0 if self._ready and self._write_problem is None else pause)
                last = last or self._closing_soon
                pause = min(SECONDS, 2 * pause + 0.03)
                for item in drain_queue(self._queue):
                    self._buffer.add(item)
                try:
                    self._write(last)
                    self._write_problem = None
                except Exception as error:  # the thread must live: what is refused now is tried again
                    if not isinstance(error, OSError | MetricsError | RunLocked):
                        traceback.print_exc()
                    self._report(error)
        finally:
            self._release()

    def _write(self, last: bool) -> None:
        """What waits: records in one transaction, then a snapshot whose records are there; at the end all of them."""
        if self._lock is not None and not is_still_in(self._lock, self.folder):
            self._release()
            self.missing = (
                f"what run {self.folder.name} had saved before step {self._buffer.last_step:,} is gone: its folder was "
                "taken away; what it makes from there on is saved in a new one"
            )
        if self._lock is None:
            self._prepare()
        if self._metrics is None:
            self._metrics = MetricsWriter.open(self.folder / schema.FILE)
        buffer = self._buffer
        if records := buffer.records:
            self._metrics.write(records)
            buffer.clear_records()
        folder, ready = self.folder / "snapshots", self._ready
        while ready or (last and buffer.snapshots):
            ready = False  # a slow disk: what was recorded meanwhile comes before the next one
            self._metrics.checkpoint()  # on the disk itself, as the snapshot will be
            checkpoint_files.write(folder, buffer.snapshots[0])
            buffer.snapshots.pop(0)
            checkpoint_files.thin_out(folder, set() if self.best is None else {self.best}, *self._bounds)
        if not buffer.snapshots:
            for written in buffer.waiters:
                written.set()
            buffer.waiters.clear()

    @property
    def _ready(self) -> bool:
        """Does a snapshot wait whose steps are recorded?"""
        if not self._buffer.snapshots or self._metrics is None:
            return False
        return self._buffer.snapshots[0].step <= max(self._buffer.last_step, self._metrics.last_step)

    def _report(self, error: Exception) -> None:
        """Say what is not being saved and why, and wait in little memory."""
        why = str(error) if isinstance(error, RunLocked) else getattr(error, "strerror", None) or f"{error}"
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "disk is full" in why
        remedy = "free some space on that disk" if full else "see that its folder is there and can be written"
        self._write_problem = f"run {self.folder.name} is not being saved ({why}); {remedy}"
        self._buffer.shrink(self.best)
        if self._buffer.lost_before is not None:
            self.missing = (
                f"some numbers of run {self.folder.name} before step {self._buffer.lost_before:,} are lost: "
                "its disk refused them for too long"
            )
        if self._metrics is not None:  # what its writer knows may not be there
            with suppress(MetricsError):
                self._metrics.close()
            self._metrics = None

    def _release(self) -> None:
        if self._metrics is not None:
            with suppress(MetricsError):
                self._metrics.close()
        if self._lock is not None:
            self._lock.close()
        self._metrics = self._lock = None


def new_run_id() -> str:
    """A name that no other run has; names sort by time."""
    return time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(3)
