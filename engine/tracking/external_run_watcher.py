"""The runs that other processes write into this home: which there are, and those that are followed.

watchdog reports folders that come and go; where the system reports nothing, a scan a second is enough. One thread
scans, and reads what is new in the followed runs. Nothing here writes into a run.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from ..errors import InputError
from ..storage import reader
from ..storage.metrics.follower import Rewound
from ..storage.metrics.json_lines import FILE
from ..storage.metrics.reader import has_metrics
from ..storage.metrics.schema import MetricsError
from ..storage.reader import StoredRun
from ..text.corpus import Corpus
from ..text.points import Points
from .external_run import ExternalRun

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

SCAN_SECONDS = 1.0  # between scans of all folders, for what no event reported
READ_SECONDS = 0.2  # between readings of what is followed
MOST_FOLLOWED = 6
UNWANTED_SECONDS = 60.0

Dataset = Callable[[StoredRun], Corpus | Points]
Fingerprint = tuple[int, int, int]


class ExternalRunWatcher:
    """Finds and follows the runs in `root`. `own` says of a run's id whether this process writes it itself."""

    def __init__(
        self,
        root: Path,
        own: Callable[[str], bool],
        dataset: Dataset,
        observers: Sequence[Callable[[], BaseObserver]] = (Observer,),
    ) -> None:
        self.root = root
        self.version = 0
        """Grows whenever a run has come, ended or gone."""
        self._own, self._dataset, self._observers = own, dataset, observers
        self._fingerprints: dict[str, Fingerprint] = {}
        self._live: dict[str, StoredRun] = {}
        self._followed: dict[str, ExternalRun] = {}
        self._wanted: dict[str, float] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._observer: BaseObserver | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch until `stop`; a second call changes nothing."""
        if self._thread is not None:
            return
        self._stopping = False
        self._start_observer()
        self._thread = threading.Thread(target=self._run, name="runs elsewhere", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 0.5) -> bool:
        """End the watch; False if its thread is still inside a long reading after `timeout` seconds."""
        if self._thread is None:
            return True
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout)
        ended, self._thread = not self._thread.is_alive(), None
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None
        return ended

    def live(self) -> list[StoredRun]:
        """The runs that are written by other processes now, newest first."""
        return [run for _, run in sorted(self._live.copy().items(), reverse=True)]

    def followed(self) -> list[ExternalRun]:
        """Those that somebody has asked to see."""
        return list(self._followed.copy().values())

    def find(self, run_id: str) -> ExternalRun | None:
        """The followed run called `run_id`; one that nobody asks for any more is soon let go."""
        found = self._followed.get(run_id)
        if found is not None:
            self._wanted[run_id] = time.monotonic()
        return found

    def follow(self, run_id: str) -> ExternalRun:
        """Have the run called `run_id` followed from now on; InputError if nobody writes it now, or it is damaged."""
        with self._lock:
            if (found := self._followed.get(run_id)) is not None:
                return found
            self.scan()
            if run_id not in self._live:
                raise InputError(f"run {run_id[:80]!r} is not being trained elsewhere now; Compare lists all runs")
            followed = self._open(run_id)
            while len(self._followed) >= MOST_FOLLOWED:
                self._drop(min(self._followed, key=lambda name: self._wanted.get(name, 0.0)))
            self._wanted[run_id] = time.monotonic()  # first: else it could be let go before it is
            self._followed[run_id] = followed
            self._wake.set()
            return followed

    def _drop(self, run_id: str) -> None:
        self._followed.pop(run_id, None)
        self._wanted.pop(run_id, None)

    def _open(self, run_id: str) -> ExternalRun:
        stored = reader.read_run(self.root / run_id)
        if stored.reason is not None:
            raise InputError(f"run {run_id} cannot be opened: {stored.reason}")
        dataset = None
        if stored.config is not None:
            with suppress(InputError):  # that text is not here: its charts do without names
                dataset = self._dataset(stored)
        try:
            return ExternalRun(stored, dataset)
        except (OSError, MetricsError) as error:
            raise InputError(f"run {run_id} cannot be read ({error})") from None

    # ---------------------------------------------------------------- on the watching thread

    def scan(self) -> None:
        """See which runs are being written now; only folders that have changed are looked into."""
        fingerprints: dict[str, Fingerprint] = {}
        live: dict[str, StoredRun] = {}
        for path in self._folders():
            name, fingerprint = path.name, _fingerprint(path)
            if self._own(name):
                continue
            fingerprints[name] = fingerprint
            known = self._live.get(name)
            if (known is None and self._fingerprints.get(name) == fingerprint) or not reader.is_written(path):
                continue
            known = known or reader.read_run(path)
            if known.reason is not None or not has_metrics(path):
                del fingerprints[name]  # it may have been begun a moment ago: it is looked at again
            else:
                live[name] = known
        changed = live.keys() != self._live.keys()
        self._fingerprints, self._live = fingerprints, live
        if changed:
            self.version += 1

    def refresh(self) -> None:
        """Read what is new in every followed run."""
        for run_id, followed in self._followed.copy().items():
            if time.monotonic() - self._wanted.get(run_id, 0.0) > UNWANTED_SECONDS:
                self._drop(run_id)
                continue
            try:
                followed.refresh()
                followed.trouble = None
            except Rewound:
                with suppress(InputError):
                    self._followed[run_id] = self._open(run_id)
            except Exception as error:  # the watch goes on for the others
                trouble = f"run {run_id} cannot be read ({error})"
                if not isinstance(error, OSError | MetricsError) and trouble != followed.trouble:
                    traceback.print_exc()
                followed.trouble = trouble
                if not followed.folder.is_dir():
                    self._drop(run_id)

    def _folders(self) -> list[Path]:
        try:
            with os.scandir(self.root) as found:
                return [
                    Path(entry.path)
                    for entry in found
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                ]
        except OSError:
            return []

    def _run(self) -> None:
        due = 0.0
        while not self._stopping:
            try:
                if due <= 0 or self._wake.is_set():
                    self._wake.clear()
                    due = SCAN_SECONDS
                    with self._lock:
                        self.scan()
                self.refresh()
            except Exception:  # said, and tried again: one odd folder must not end the watch
                traceback.print_exc()
            rest = READ_SECONDS if self._followed else due
            if not self._stopping:  # `stop` may have woken it before that was cleared above
                self._wake.wait(rest)
            due -= rest

    def _start_observer(self) -> None:
        """Have the system report what comes and goes; where it cannot, the scan a second finds it."""
        for make in self._observers:
            observer: BaseObserver | None = None
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                observer = make()
                observer.schedule(_Handler(self._wake), str(self.root))
                observer.start()
            except OSError:
                if observer is not None:
                    observer.on_thread_stop()
                continue
            self._observer = observer
            return


class _Handler(FileSystemEventHandler):
    """Wakes the watching thread when a folder came or went."""

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in ("created", "deleted", "moved"):
            self._wake.set()


def _fingerprint(folder: Path) -> Fingerprint:
    """Changes when a file of the folder comes or goes, or a line is appended."""
    with suppress(OSError):
        status = folder.stat()
        try:
            lines = (folder / FILE).stat()
        except OSError:
            return status.st_mtime_ns, 0, 0
        return status.st_mtime_ns, lines.st_mtime_ns, lines.st_size
    return 0, 0, 0
