"""The drop folder: any .txt file put into it is noticed, once, when it has stopped changing.

watchdog (inotify and the like) reports events; one thread waits until a file is quiet.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.polling import PollingObserver

from .decoding import Signature, TextFacts, scan_file, signature

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

logging.getLogger("watchdog").addHandler(logging.NullHandler())  # it prints to stderr when stopped while waiting

POLL = 0.5  # seconds between polls where the system does not report changes
_HEARTBEAT = 1.0  # seconds between full scans, for changes without an event (a network drive, say)
_TOGETHER = 0.05  # seconds within which changes count as one: the two halves of a rename
_READING = {"opened", "closed_no_write"}  # events of reading a file, as we do ourselves

Files = dict[Path, tuple[Signature, TextFacts]]


class DropFolder:
    """The .txt files of one folder. Without `start`, each `files()` scans the folder; after it, a thread watches it.

    quiet: seconds without a change after which a file counts as complete. held: the same while another program has
    the file open, so that a slow copy is not read half way.
    """

    def __init__(
        self,
        path: Path,
        *,
        quiet: float = 0.8,
        held: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        observers: Sequence[Callable[[], BaseObserver]] = (Observer, lambda: PollingObserver(timeout=POLL)),
    ) -> None:
        self.path = path
        self.version = 0  # grows by one when files are added, changed or removed
        self.notice: str | None = None  # what a person should know about how the folder is watched
        self._quiet, self._held, self._clock, self._observers = quiet, held, clock, observers
        self._lock = threading.RLock()
        self._files: Files = {}
        self._waiting: dict[Path, tuple[Signature | None, float]] = {}  # a path's signature, and since when it has it
        self._open: set[Path] = set()
        self._wake = threading.Event()
        self._stopping = False
        self._observer: BaseObserver | None = None
        self._thread: threading.Thread | None = None
        self._inode: int | None = None  # of the watched folder; if it changes, the folder was replaced

    def files(self) -> dict[Path, TextFacts]:
        """The complete files by path, including those with a problem."""
        with self._lock:
            if self._thread is None:
                self._files = self._scan()
            return {path: self._files[path][1] for path in sorted(self._files)}

    def start(self) -> None:
        """Make the folder, read what is in it, and watch it until `stop`. A second call does nothing."""
        if self._thread is not None:
            return
        self._stopping = False
        self._watch()
        with self._lock:
            self._files = self._scan()
        self._thread = threading.Thread(target=self._watch_loop, name="drop-folder", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching and wait for the threads."""
        if self._thread is None:
            return
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._thread = None
        self._unwatch()

    def notify(self, path: Path, kind: str) -> None:
        """Handle an event of `kind` (watchdog's event type) at `path`."""
        if not _is_text_name(path):
            return
        with self._lock:
            if kind == "opened":
                self._open.add(path)
            elif kind in ("closed", "closed_no_write", "moved", "deleted"):
                self._open.discard(path)
            if kind in _READING:
                return
            self._waiting[path] = signature(path), self._clock()
        self._wake.set()

    def compare(self) -> None:
        """Queue every file that differs from when it was last read, whether or not an event came."""
        with self._lock:
            for path in {*_names(self.path), *self._files} - self._waiting.keys():
                seen, held = signature(path), self._files.get(path)
                if seen != (held[0] if held else None):
                    self._waiting[path] = seen, self._clock()

    def settle(self) -> float | None:
        """Read every waiting file that has been quiet for long enough; returns seconds until the next, or None."""
        due = [path for path in list(self._waiting) if self._seconds_left(path) <= _TOGETHER]
        if sum([self._read_waiting(path) for path in due]):
            self.version += 1
        return min((self._seconds_left(path) for path in list(self._waiting)), default=None)

    def _seconds_left(self, path: Path) -> float:
        """Seconds for which a waiting file must still be quiet; starts again if the file has changed."""
        with self._lock:
            seen, since = self._waiting[path]
            if (now_seen := signature(path)) != seen:
                seen, since = self._waiting[path] = now_seen, self._clock()
            quiet = self._held if seen and path in self._open else self._quiet
            return since + quiet - self._clock()

    def _read_waiting(self, path: Path) -> bool:
        """Read one waiting file; returns whether the list changed. It stays waiting if it changes meanwhile."""
        state = self._waiting[path]
        facts = scan_file(path, self.path) if state[0] else None  # without the lock: reading may take a second
        with self._lock:
            if self._waiting[path] != state or signature(path) != state[0]:
                return False
            del self._waiting[path]
            held = self._files.pop(path, None)
            if state[0] and facts:
                self._files[path] = state[0], facts
            return facts != (held[1] if held else None)

    def _scan(self) -> Files:
        """Scan the folder; files are read again only if they changed."""
        files: Files = {}
        for path in _names(self.path):
            seen, held = signature(path), self._files.get(path)
            if seen:
                files[path] = held if held and held[0] == seen else (seen, scan_file(path, self.path))
        return files

    def _watch_loop(self) -> None:
        due: float | None = None
        while not self._stopping:
            self._wake.wait(_HEARTBEAT if due is None else min(due, _HEARTBEAT))
            self._wake.clear()
            if _inode(self.path) != self._inode:
                self._unwatch()
                self._watch()
            self.compare()
            due = self.settle()

    def _watch(self) -> None:
        """Make the folder and watch it with the first observer that works; `notice` says so if none does."""
        self.notice = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror or str(error)
            self.notice = f"{self.path} cannot be made ({why}), so dropped files are not seen; make it by hand"
        self._inode = _inode(self.path)
        for make in self._observers if self._inode else ():
            observer: BaseObserver | None = None
            try:
                observer = make()
                observer.schedule(_Handler(self), str(self.path))
                observer.start()
            except OSError as error:
                if observer is not None:
                    observer.on_thread_stop()
                why = error.strerror or str(error)
                self.notice = f"the system cannot report new files ({why}), so the folder is looked at on a timer"
                continue
            self._observer = observer
            return

    def _unwatch(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None
        with self._lock:
            self._open.clear()


class _Handler(FileSystemEventHandler):
    """Passes watchdog's events to the folder."""

    def __init__(self, folder: DropFolder) -> None:
        self._folder = folder

    def on_any_event(self, event: FileSystemEvent) -> None:
        for path in (event.src_path, event.dest_path):
            if path:
                self._folder.notify(Path(os.fsdecode(path)), event.event_type)


def _is_text_name(path: Path) -> bool:
    """Whether the name is that of a text: .txt, and not an editor's temporary file."""
    return path.suffix.lower() == ".txt" and not path.name.startswith((".", "~"))


def _names(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if _is_text_name(path)]
    except OSError:
        return []


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
