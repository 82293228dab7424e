"""The stream from the training thread to whoever looks: records, the bounded History, and the Pump.

The training thread puts records into a run's queue and never waits. The pump's thread drains the queues about 20
times a second into each run's `History` and hands every subscriber the same frames. Knows no sockets, no screen
and no models; its numbers are plain floats and CPU numpy arrays.
"""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from engine.thinning import kept, kept_evenly, means_of

Floats = NDArray[np.float32]
Steps = NDArray[np.uint32]

SNAPSHOT_BYTES = 250_000
MOST_POINTS = 2000
DELTA_POINTS = 32
KEPT = 200
EVENT_BYTES = 30_000
SAMPLE_BYTES = 100_000
SLOW_POINTS = 8  # of a channel that hardly moves
SLOW = ("lr", "step_time")
TABLE_BYTES_A_SECOND = 32_000
TABLE_SECONDS = 0.5
RIDERS = "projection/"  # so small that they come along with the next table, whatever its turn


class Scalars(NamedTuple):
    """What every step leaves: `seconds` is the step's own time, waiting for a speed limit not counted."""

    step: int
    loss: float
    grad_norm: float
    lr: float
    seconds: float


class Observation(NamedTuple):
    """What is measured on a cadence: scalars by channel, tables by channel (rows, cols), float32."""

    step: int
    scalars: Mapping[str, float]
    tables: Mapping[str, Floats]


class Event(NamedTuple):
    """Something happened after `step` updates: a knob moved, the run paused, a warning."""

    step: int
    name: str
    text: str


class Sample(NamedTuple):
    """Generated text; `prompt` characters of it were given, `confidence` has one digit a character ("-": given).

    `lane` counts the lanes of a race from 1; a run by itself has none.
    """

    step: int
    text: str
    prompt: int
    confidence: str
    lane: int = 0


class Turn(NamedTuple):
    """Knobs were turned after `step` updates, with `stages` stages of the next step done: all live settings since."""

    step: int
    stages: int
    settings: Mapping[str, Any]


Record = Scalars | Observation | Event | Sample | Turn
Queue = SimpleQueue[Record]
Item = TypeVar("Item")
EACH_STEP = ("train/loss", "grad_norm", "lr", "step_time")
MEAN = ":mean"  # after a channel's name: what its thinned points stand for


def averaged(channel: str) -> bool:
    """Is the moving average of a channel drawn too? Then its means go with its points."""
    return channel in ("train/loss", "grad_norm") or channel.startswith("train/loss/")


class Curve(NamedTuple):
    """Points [n] of a channel, thinned or not; `means` [n] are over all steps since the point before."""

    steps: Steps
    values: Floats
    means: Floats

    @classmethod
    def whole(cls, steps: Steps, values: NDArray[np.floating[Any]]) -> Curve:
        """Points [n] of which each stands for itself."""
        with np.errstate(over="ignore"):
            narrow = np.ascontiguousarray(values, np.float32)
        return cls(steps, narrow, narrow)

    def thinned(self, points: int) -> Curve:
        """At most `points` of them, peaks and valleys kept."""
        return self.at(kept(self.values, points))

    def at(self, places: NDArray[np.intp]) -> Curve:
        """Those at `places`, which grow."""
        if len(places) == len(self.steps):
            return self
        return Curve(self.steps[places], self.values[places], means_of(self.steps, self.means, places))


class Series:
    """One scalar channel, step by step, in bounded memory.

    Every point is kept up to `capacity`; then the older half is thinned to a quarter of its points, evenly over its
    steps, its peaks and valleys kept, so a run of any length costs the same. What went keeps its part in the means.
    """

    def __init__(self, capacity: int = 1 << 20) -> None:
        self.capacity = capacity
        self.count = 0
        self._steps: Steps = np.empty(1024, np.uint32)
        self._values: Floats = np.empty(1024, np.float32)
        self._means = self._values  # until one point stands for others

    def extend(self, points: Curve) -> None:
        """Append points; their steps grow."""
        new = len(points.steps)
        if self.count + new > self.capacity:
            self._thin_older_half()
        if self.count + new > len(self._steps):
            size = max(self.count + new, min(2 * len(self._steps), self.capacity))
            self._steps = np.concatenate((self._steps[: self.count], np.empty(size - self.count, np.uint32)))
            alike = self._means is self._values
            self._values = np.concatenate((self._values[: self.count], np.empty(size - self.count, np.float32)))
            rest = np.empty(0 if alike else size - self.count, np.float32)
            self._means = self._values if alike else np.concatenate((self._means[: self.count], rest))
        self._put(self.count, points)

    @property
    def last(self) -> float | None:
        """The newest value."""
        return float(self._values[self.count - 1]) if self.count else None

    def _thin_older_half(self) -> None:
        half = self.count // 2
        older = kept_evenly(self._steps[:half], self._values[:half], half // 4)
        self._put(0, self._whole().at(np.concatenate((older, np.arange(half, self.count)))))

    def _put(self, start: int, points: Curve) -> None:
        if points.means is not points.values and self._means is self._values:
            self._means = self._values.copy()
        self.count = start + len(points.steps)
        for column, new in zip((self._steps, self._values, self._means), points, strict=True):
            column[start : self.count] = new

    def _whole(self) -> Curve:
        return Curve(self._steps[: self.count], self._values[: self.count], self._means[: self.count])

    def view(self, points: int, first: int = 0, last: int | None = None) -> Curve:
        """A copy of at most `points` points with steps in first..last, peaks and valleys kept."""
        steps = self._steps[: self.count]
        low = int(np.searchsorted(steps, first, "left"))
        high = self.count if last is None else int(np.searchsorted(steps, last, "right"))
        found = Curve(self._steps[low:high], self._values[low:high], self._means[low:high]).thinned(points)
        return Curve(found.steps.copy(), found.values.copy(), found.means.copy())


@dataclass
class Frame:
    """One message for every viewer of a run: the header's fields, and arrays by channel."""

    header: dict[str, Any]
    arrays: list[tuple[str, Floats]] = field(default_factory=list)

    def encode(self) -> bytes:
        """The wire form: u32 header length, JSON padded to a multiple of 4, float32 arrays back to back."""
        header = {**self.header, "arrays": [{"name": name, "shape": array.shape} for name, array in self.arrays]}
        head = orjson.dumps(header)
        head += b" " * (-len(head) % 4)
        return b"".join(
            (len(head).to_bytes(4, "little"), head, *(array.astype("<f4").tobytes() for _, array in self.arrays))
        )


class History:
    """What a run has shown so far, in bounded memory; and what is new since the last delta.

    Only the pump's thread writes; `lock` guards readers in other threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, averaged: Callable[[str], bool] = averaged) -> None:
        self.lock = threading.Lock()
        self.averaged = averaged
        self.series: dict[str, Series] = {}
        self.tables: dict[str, Floats] = {}
        self.events: deque[Event] = deque(maxlen=KEPT)
        self.samples: deque[Sample] = deque(maxlen=KEPT)
        self._clock = clock
        self._new_points: dict[str, list[Curve]] = {}
        self._new_tables: list[str] = []
        self._new_events: list[Event] = []
        self._new_samples: list[Sample] = []
        self._table_due = -math.inf

    def add(self, records: Iterable[Record]) -> None:
        """Take records in the order in which they were made."""
        rows: list[Scalars] = []
        others: list[Record] = []
        for record in records:
            (rows if type(record) is Scalars else others).append(record)  # type: ignore[arg-type]
        with self.lock:
            if rows:
                self._add_rows(rows)
            for record in others:
                if isinstance(record, Observation):
                    self._add_observation(record)
                elif isinstance(record, Event):
                    self.events.append(record)
                    self._new_events.append(record)
                elif isinstance(record, Sample):
                    self.samples.append(record)
                    self._new_samples.append(record)

    def _add_rows(self, rows: list[Scalars]) -> None:
        block = np.array(rows, np.float64)  # (n, 5)
        self._add_block(block[:, 0].astype(np.uint32), block[:, 1:])

    def add_steps(self, steps: Steps, numbers: NDArray[np.float64]) -> None:
        """Take steps [n] with their loss, gradient norm, lr and seconds [n, 4], as they come from a run folder."""
        with self.lock:
            self._add_block(steps, numbers)

    def add_points(self, channel: str, points: Curve) -> None:
        """Take points of one channel, with steps that grow."""
        with self.lock:
            self._extend(channel, points)

    def _add_block(self, steps: Steps, numbers: NDArray[np.float64]) -> None:
        for column, name in enumerate(EACH_STEP):
            self._extend(name, Curve.whole(steps, numbers[:, column]))

    def _add_observation(self, observation: Observation) -> None:
        for name, value in observation.scalars.items():
            self._extend(name, Curve.whole(np.array([observation.step], np.uint32), np.array([value])))
        for name, table in observation.tables.items():
            self.tables[name] = table
            if name not in self._new_tables:
                self._new_tables.append(name)

    def _extend(self, name: str, points: Curve) -> None:
        finite = np.isfinite(points.values)
        if not finite.all():  # a diverging step is told by an event; a chart cannot draw it
            values = points.values[finite]
            means = values if points.means is points.values else points.means[finite]
            points = Curve(points.steps[finite], values, means)
        if name not in self.series:
            self.series[name] = Series()
        self.series[name].extend(points)
        self._new_points.setdefault(name, []).append(points)

    def delta(self, header: dict[str, Any]) -> Frame:
        """What is new since the last delta, at most DELTA_POINTS a channel and one table per TABLE_SECONDS."""
        frame = Frame({**header, "kind": "delta"})
        with self.lock:
            pieces = {
                name: Curve(*map(np.concatenate, zip(*new, strict=True))).thinned(
                    SLOW_POINTS if name in SLOW else DELTA_POINTS
                )
                for name, new in self._new_points.items()
            }
            self._new_points.clear()
            if self._new_tables and self._clock() >= self._table_due:
                name = self._new_tables.pop(0)
                riders = [rider for rider in self._new_tables if rider.startswith(RIDERS)]
                self._new_tables = [rest for rest in self._new_tables if rest not in riders]
                frame.arrays += [(each, self.tables[each]) for each in (name, *riders)]
                rest = max(TABLE_SECONDS, self.tables[name].nbytes / TABLE_BYTES_A_SECOND)
                self._table_due = self._clock() + rest
            events, self._new_events = self._new_events, []
            samples, self._new_samples = self._new_samples, []
        base, frame.arrays[:0] = self._on_wire(pieces)
        frame.header.update(base_step=base, events=_dicts(events[-KEPT:]), samples=_dicts(samples[-KEPT:]))
        return frame

    def snapshot(self, header: dict[str, Any]) -> Frame:
        """All that a viewer needs to begin, within SNAPSHOT_BYTES: points a series are what the budget leaves."""
        frame = Frame({**header, "kind": "snapshot", "base_step": 0})
        with self.lock:
            tables = list(self.tables.items())
            spent = sum(4 * table.size for _, table in tables)
            frame.header["events"] = _newest(self.events, EVENT_BYTES)
            frame.header["samples"] = _newest(self.samples, min(SAMPLE_BYTES, (SNAPSHOT_BYTES - spent) // 2))
            spent += len(orjson.dumps(frame.header))
            most = max(1, len(self.series) + sum(map(self.averaged, self.series)))
            spent += 80 * (most + len(tables))  # a name and a shape in the header
            points = min(MOST_POINTS, (SNAPSHOT_BYTES - spent) // (8 * most))
            views = {name: series.view(max(points, 3)) for name, series in self.series.items()}
        frame.header["base_step"], arrays = self._on_wire(views)
        frame.arrays = arrays + tables
        return frame

    def _on_wire(self, curves: Mapping[str, Curve]) -> tuple[int, list[tuple[str, Floats]]]:
        """The base of the steps, and the arrays: of a channel that is averaged also its means, where they differ."""
        base = min((int(curve.steps[0]) for curve in curves.values() if len(curve.steps)), default=0)
        arrays = []
        for name, (steps, values, means) in curves.items():
            arrays.append((name, on_wire(steps, values, base)))
            if self.averaged(name) and not np.array_equal(means, values):
                arrays.append((name + MEAN, on_wire(steps, means, base)))
        return base, arrays

    def stretch(self, channel: str, first: int, last: int | None) -> Curve | None:
        """At most MOST_POINTS points of `channel` with steps in first..last; None for an unknown channel."""
        with self.lock:
            series = self.series.get(channel)
            return None if series is None else series.view(MOST_POINTS, first, last)


def on_wire(steps: Steps, values: Floats, base: int) -> Floats:
    """[2, n]: the steps minus `base` (float32 counts exactly to 16.7 million only), and the values."""
    return np.stack(((steps.astype(np.int64) - base).astype(np.float32), values))


def _dicts(items: Sequence[Event] | Sequence[Sample]) -> list[dict[str, Any]]:
    return [item._asdict() for item in items]


def _newest(items: Sequence[Event | Sample], most_bytes: int) -> list[dict[str, Any]]:
    """The newest of `items` that fit into `most_bytes` of JSON, oldest first."""
    kept: list[dict[str, Any]] = []
    for item in reversed(items):
        as_dict = item._asdict()
        most_bytes -= len(orjson.dumps(as_dict)) + 1
        if most_bytes < 0:
            break
        kept.append(as_dict)
    return kept[::-1]


class Sink(Protocol):
    """Where records go besides the history: onto the disk."""

    def put(self, records: Iterable[Record]) -> None: ...


class Source(Protocol):
    """What the pump needs of a run."""

    id: str
    queue: Queue
    history: History
    handing: threading.Lock
    """Held while records go from the queue to the store, so that they keep their order and none comes too late."""

    @property
    def store(self) -> Sink | None:
        """Where its records are kept, if they are."""

    def header(self) -> dict[str, Any]:
        """The frame's header fields that describe the run as it is now."""


Frames = list[tuple[Source, Frame | None]]
Subscriber = Callable[[Frames], None]
Listener = Callable[[str, Sequence[Record]], None]


class Pump:
    """Drains every run's queue into its history, and hands all subscribers the same frames.

    One thread; it drains `hertz` times a second and makes frames at every second drain. A run with nothing new
    gives None, but a heartbeat now and then lets a viewer tell a quiet run from a dead line.
    """

    HEARTBEAT_SECONDS = 2.0

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
        """Drain once more and end."""
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
                    with source.handing:
                        records = taken(source.queue)
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
            header = source.header()
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
            except Exception:  # said, and tried again at the next beat: the stream must not end with one bad frame
                traceback.print_exc()
        self.drain()


def taken(queue: SimpleQueue[Item]) -> list[Item]:
    """Everything in `queue` now, without waiting."""
    records = []
    try:
        for _ in range(queue.qsize()):
            records.append(queue.get_nowait())
    except Empty:
        pass
    return records
