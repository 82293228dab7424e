"""The pump: drains every run's queue into its history about 20 times a second, and gives out the frames.

The training thread only puts records into the queue and never waits.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from .history import Frame, History
from .messages import Queue, Record, drain_queue
from .status import RunStatus


class Sink(Protocol):
    """Where records go besides the history: the run folder's writer."""

    def put(self, records: Iterable[Record]) -> None: ...


class Source(Protocol):
    """What the pump needs of a run."""

    id: str
    queue: Queue
    history: History
    drain_lock: threading.Lock
    """Held while records go from the queue to the store, so that they keep their order and none comes too late."""

    @property
    def store(self) -> Sink | None:
        """What stores its records; None if they are not stored."""

    def status(self) -> RunStatus:
        """What there is to say of the run as it is now."""


Frames = list[tuple[Source, Frame | None]]
Subscriber = Callable[[Frames], None]
Listener = Callable[[str, Sequence[Record]], None]


class Pump:
    """Drains every run's queue into its history, and hands all subscribers the same frames.

    Its one thread drains `hertz` times a second and makes frames at every second drain. A run with nothing new gives
    None, except for a heartbeat every HEARTBEAT_SECONDS, by which viewers tell a quiet run from a lost connection.
    """

    HEARTBEAT_SECONDS = 1.0

    def __init__(self, sources: Callable[[], Iterable[Source]], hertz: float = 20.0) -> None:
        self._sources = sources
        self._period = 1 / hertz
        self._subscribers: list[Subscriber] = []
        self._listeners: list[Listener] = []
        self._last: dict[str, tuple[float, dict[str, Any]]] = {}
        self._stop = threading.Event()
        self._draining = threading.Lock()
        self._thread: threading.Thread | None = None

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call `subscriber` with all frames, on the pump's thread, about `hertz` / 2 times a second."""
        self._subscribers.append(subscriber)

    def listen(self, listener: Listener) -> None:
        """Call `listener` with a source's id and its new records, in whatever thread drains."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin; a second call changes nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="pump", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Drain once more and end the thread."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
            self._stop.clear()

    def drain(self) -> None:
        """Move what the runs have put into their queues into their histories, and hand it to their stores."""
        with self._draining:
            for source in self._sources():
                if not source.queue.empty():
                    with source.drain_lock:
                        records = drain_queue(source.queue)
                        if source.store is not None:
                            source.store.put(records)
                    source.history.add(records)
                    for listener in self._listeners:
                        listener(source.id, records)

    def frames(self) -> Frames:
        """One frame a run: what is new since the last call, or None."""
        now = time.monotonic()
        frames: Frames = []
        for source in self._sources():
            header = source.status().header()
            sent_at, sent = self._last.get(source.id, (-self.HEARTBEAT_SECONDS, {}))
            frame = source.history.delta(header)
            quiet = not frame.arrays and not frame.header["events"] and not frame.header["samples"]
            if quiet and header == sent and now - sent_at < self.HEARTBEAT_SECONDS:
                frames.append((source, None))
            else:
                frames.append((source, frame))
                self._last[source.id] = (now, header)
        self._last = {source.id: self._last[source.id] for source, _ in frames}
        return frames

    def _work(self) -> None:
        due = False
        while not self._stop.wait(self._period):
            try:
                self.drain()
                due = not due
                if due:
                    frames = self.frames()
                    for subscriber in self._subscribers:
                        subscriber(frames)
            except Exception:  # printed, then tried again: one bad frame must not end the stream
                traceback.print_exc()
        self.drain()
