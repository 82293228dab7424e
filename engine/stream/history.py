"""The numbers of a run so far, in bounded memory, and the frames that are made from them."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from .messages import EACH_STEP, Event, Floats, Observation, Record, Sample, Scalars
from .series import GAPS, MEAN, Series, SeriesPoints, Steps, is_averaged
from .status import State

SNAPSHOT_BYTES = 250_000
MAX_POINTS = 2000
DELTA_POINTS = 32
MAX_ENTRIES = 200
REPEATED = ("epoch", "paused", "resumed")  # events that a long run may have by the hundred: they go first
EVENT_BYTES = 30_000
SAMPLE_BYTES = 100_000
MAX_KEPT = 8  # steps with tables whose points a delta keeps, the newest
SLOW_POINTS = 8  # in a delta, of a channel that hardly moves
SLOW = ("lr", "step_time")
TABLE_BYTES_A_SECOND = 40_000
TABLE_SECONDS = 0.5
NUMBERS_WAIT = 10.0  # s that tables wait for the numbers of their step: for a validation, and for a GPU's first block
HEADLINE_SHARE, HEADLINE_STEPS = 100, 5  # the headline's loss averages this part of the steps, and so many at least


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
    """A run's scalars, tables, events and samples in bounded memory, and what is new since the last delta.

    One thread at a time writes, the one that drains the pump; `lock` protects readers in others.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, averaged: Callable[[str], bool] = is_averaged
    ) -> None:
        self.lock = threading.Lock()
        self.averaged = averaged
        self.series: dict[str, Series] = {}
        self.tables: dict[str, Floats] = {}
        self.events = deque[Event]()
        self.samples: deque[Sample] = deque(maxlen=MAX_ENTRIES)
        self._clock = clock
        self._new_points: dict[str, list[SeriesPoints]] = {}
        self._new_tables: list[str] = []
        self._tables_step: int | None = None
        self._new_tables_steps: list[int] = []
        self._rows_step: int | None = None  # of the newest row of numbers
        self._waits_since: float | None = None  # when tables came before the numbers of their step
        self._new_events: list[Event] = []
        self._new_samples: list[Sample] = []
        self._table_due = -math.inf
        self._not_finite: dict[str, int] = {}  # by channel: the step since which it is no finite number

    def add(self, records: Iterable[Record]) -> None:
        """Add records in the order in which they were made."""
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
                    self._keep(record)
                    self._new_events.append(record)
                elif isinstance(record, Sample):
                    self.samples.append(record)
                    self._new_samples.append(record)

    def _keep(self, event: Event) -> None:
        """Keep MAX_ENTRIES events: the newest, but what happens again and again pushes out no other."""
        self.events.append(event)
        if len(self.events) > MAX_ENTRIES:
            oldest = next((one for one in self.events if one.name in REPEATED), self.events[0])
            self.events.remove(oldest)

    def _add_rows(self, rows: list[Scalars]) -> None:
        block = np.array(rows, np.float64)  # (n, 5)
        self._add_block(block[:, 0].astype(np.uint32), block[:, 1:])

    def add_steps(self, steps: Steps, numbers: NDArray[np.float64]) -> None:
        """Add steps [n] with their loss, gradient norm, lr and seconds [n, 4], as read from a run folder."""
        with self.lock:
            self._add_block(steps, numbers)

    def add_points(self, channel: str, points: SeriesPoints) -> None:
        """Add points of one channel, in ascending steps."""
        with self.lock:
            self._extend(channel, points)

    def _add_block(self, steps: Steps, numbers: NDArray[np.float64]) -> None:
        if len(steps):
            self._rows_step = int(steps[-1])
        for column, name in enumerate(EACH_STEP):
            self._extend(name, SeriesPoints.whole(steps, numbers[:, column]))

    def _add_observation(self, observation: Observation) -> None:
        for name, value in observation.scalars.items():
            self._extend(name, SeriesPoints.whole(np.array([observation.step], np.uint32), np.array([value])))
        if observation.tables:
            self._tables_step = observation.step
            self._new_tables_steps.append(observation.step)
        for name, table in observation.tables.items():
            self.tables[name] = table
            if name not in self._new_tables:
                self._new_tables.append(name)

    def _extend(self, name: str, points: SeriesPoints) -> None:
        finite = np.isfinite(points.values)
        if finite.all():
            if len(finite):
                self._not_finite.pop(name, None)
        else:  # a curve cannot show it: it gets a mark
            self._mark_gaps(name, points, finite)
            values = points.values[finite]
            means = values if points.means is points.values else points.means[finite]
            points = SeriesPoints(points.steps[finite], values, means)
        if name not in self.series:
            self.series[name] = Series()
        self.series[name].extend(points)
        self._new_points.setdefault(name, []).append(points)

    def _mark_gaps(self, name: str, points: SeriesPoints, finite: NDArray[np.bool_]) -> None:
        """Where `name` is not finite: marks at the height of the value before, and since when it has been so."""
        known = self.series[name].last if name in self.series else None
        before = np.maximum.accumulate(np.where(finite, np.arange(len(finite)), -1))
        heights = np.where(before < 0, known or 0.0, points.values[before])
        self._extend(name + GAPS, SeriesPoints.whole(points.steps[~finite], heights[~finite]))
        if finite[-1]:
            self._not_finite.pop(name, None)
        elif before[-1] >= 0:
            self._not_finite[name] = int(points.steps[before[-1] + 1])
        else:
            self._not_finite.setdefault(name, int(points.steps[0]))

    def delta(self, header: dict[str, Any]) -> Frame:
        """What is new since the last delta: at most DELTA_POINTS a channel, and all new tables per TABLE_SECONDS.

        Tables come together, with the step that they are of (`tables_step`), not before the numbers of that step, and
        every channel keeps its point of it, so that a viewer can show all of one step. Where the run stands still they
        come at once.
        """
        frame = Frame({**header, "kind": "delta"})
        with self.lock:
            pieces = {
                name: SeriesPoints(*map(np.concatenate, zip(*new, strict=True))).thinned(
                    SLOW_POINTS if name in SLOW else DELTA_POINTS, self._new_tables_steps[-MAX_KEPT:]
                )
                for name, new in self._new_points.items()
            }
            self._new_points.clear()
            self._new_tables_steps = [step for step in self._new_tables_steps if step > (self._rows_step or 0)]
            due = self._clock() >= self._table_due and not self._waits_for_numbers()
            if self._new_tables and (due or header.get("state") != State.RUNNING):
                frame.arrays += [(name, self.tables[name]) for name in self._new_tables]
                self._new_tables.clear()
                size = sum(table.nbytes for _, table in frame.arrays)
                self._table_due = self._clock() + max(TABLE_SECONDS, size / TABLE_BYTES_A_SECOND)
                frame.header["tables_step"] = self._tables_step
            events, self._new_events = self._new_events, []
            samples, self._new_samples = self._new_samples, []
            not_finite = self._not_finite.copy()
        base, frame.arrays[:0] = self._on_wire(pieces)
        frame.header.update(
            base_step=base,
            not_finite=not_finite,
            events=_dicts(events[-MAX_ENTRIES:]),
            samples=_dicts(samples[-MAX_ENTRIES:]),
        )
        return frame

    def _waits_for_numbers(self) -> bool:
        """Have the newest tables come before the numbers of their step, less than NUMBERS_WAIT ago?"""
        if self._rows_step is None or self._tables_step is None or self._rows_step >= self._tables_step:
            self._waits_since = None
            return False
        if self._waits_since is None:
            self._waits_since = self._clock()
        return self._clock() < self._waits_since + NUMBERS_WAIT

    def snapshot(self, header: dict[str, Any]) -> Frame:
        """All that a new viewer needs, within SNAPSHOT_BYTES; each series gets as many points as the budget allows."""
        frame = Frame({**header, "kind": "snapshot", "base_step": 0})
        with self.lock:
            tables = list(self.tables.items())
            frame.header["tables_step"] = self._tables_step
            spent = sum(4 * table.size for _, table in tables)
            frame.header["not_finite"] = self._not_finite.copy()
            frame.header["events"] = _newest(self.events, EVENT_BYTES)
            frame.header["samples"] = _newest(self.samples, min(SAMPLE_BYTES, (SNAPSHOT_BYTES - spent) // 2))
            spent += len(orjson.dumps(frame.header))
            most = max(1, len(self.series) + sum(map(self.averaged, self.series)))
            spent += 80 * (most + len(tables))  # for a name and a shape in the header
            points = min(MAX_POINTS, (SNAPSHOT_BYTES - spent) // (8 * most))
            also = () if self._tables_step is None else (self._tables_step,)
            views = {name: series.view(max(points, 3), also=also) for name, series in self.series.items()}
        frame.header["base_step"], arrays = self._on_wire(views)
        frame.arrays = arrays + tables
        return frame

    def _on_wire(self, curves: Mapping[str, SeriesPoints]) -> tuple[int, list[tuple[str, Floats]]]:
        """The base step, and the arrays; an averaged channel has its means beside its points where they differ."""
        base = min((int(curve.steps[0]) for curve in curves.values() if len(curve.steps)), default=0)
        arrays = []
        for name, (steps, values, means) in curves.items():
            arrays.append((name, wire_array(steps, values, base)))
            if self.averaged(name) and not np.array_equal(means, values):
                arrays.append((name + MEAN, wire_array(steps, means, base)))
        return base, arrays

    def recent_loss(self, step: int | None = None, scatters: bool = True) -> float | None:
        """The training loss of the headline at `step` (None: the newest): the mean of the last hundredth of the steps,
        or the last loss alone where none `scatters`; None without losses. Sent along, so that viewers agree.
        """
        with self.lock:
            series = self.series.get("train/loss")
            if series is None:
                return None
            at = series.last_step if step is None else step
            window = max(HEADLINE_STEPS, at // HEADLINE_SHARE) if scatters else 1
            return series.mean_before(step, window)

    def points_between(self, channel: str, first: int, last: int | None) -> SeriesPoints | None:
        """At most MOST_POINTS points of `channel` with steps in first..last; None for an unknown channel."""
        with self.lock:
            series = self.series.get(channel)
            return None if series is None else series.view(MAX_POINTS, first, last)


def wire_array(steps: Steps, values: Floats, base: int) -> Floats:
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
