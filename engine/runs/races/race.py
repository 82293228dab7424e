"""A race: two to four runs from one start, each with its own change, trained in turn on one thread.

All lanes that still train stand at the same step; one that diverges or fails stops alone. Each lane is a run with a
folder of its own, and equals that run trained by itself. The race adds what is seen of them together: a history in
which each lane has its channels, and the first step at which their losses differ. Knows no screen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import numpy as np

from ...config import LiveSettings, RunConfig, changed
from ...errors import InputError
from ...formatting import format_setting
from ...storage.writer import new_run_id
from ...stream.history import History
from ...stream.messages import Event, Floats, Observation, Queue, Record, Sample, Scalars
from ...stream.series import SeriesPoints
from ...stream.status import ENDED, RunStatus, State
from ...text.corpus import Corpus
from ...text.points import Points
from ..divergence import KNOBS
from ..run import Run
from ..training_thread import TrainingThread
from .loss_comparator import LossComparator

MIN_LANES, MAX_LANES = 2, 4
LANE_FIELDS = (*KNOBS, "optimizer")
"""What a lane may have for itself; the optimizer only from a fresh start."""
PARENT_CHANNEL = "train/loss/before"
SHARED_EVENTS = ("started", "resumed", "forked", "paused", "stopped", "done", "max_steps", "speed", "epoch")
"""Events that all lanes have at once: they are told once, without a lane's name."""
FINAL_EVENTS = (State.DIVERGED.value, State.FAILED.value)
"""Events after which nothing more comes of a lane."""
MAX_WAITING = 32  # looks of one table whose other lanes are still to come
STATE_ORDER = (State.RUNNING, State.PAUSED, State.READY, State.DONE, State.STOPPED, State.DIVERGED, State.FAILED)
"""The race is in the first of these that a lane of it is in."""

Change = Mapping[str, Any]


def lane_names(changes: Sequence[Change]) -> list[str]:
    """What each lane is called: its change. InputError unless there are two to four lanes that can race."""
    if not MIN_LANES <= len(changes) <= MAX_LANES:
        raise InputError(f"{len(changes)} lanes are not possible; choose {MIN_LANES} to {MAX_LANES}")
    names: list[str] = []
    for change in changes:
        if foreign := [name for name in change if name not in LANE_FIELDS]:
            raise InputError(f"lanes cannot differ in {foreign[0]!r}; choose among {', '.join(LANE_FIELDS)}")
        told = [value if name == "optimizer" else f"{name} {format_setting(value)}" for name, value in change.items()]
        name = ", ".join(told) or "unchanged"
        count = sum(other.split(" (")[0] == name for other in names)
        names.append(f"{name} ({count + 1})" if count else name)
    return names


def lane_config(config: RunConfig, change: Change) -> RunConfig:
    """The structure of a lane from a fresh start."""
    return changed(config, optimizer=change["optimizer"]) if "optimizer" in change else config


def lane_settings(settings: LiveSettings, change: Change) -> LiveSettings:
    """The knobs of a lane; InputError for a value that is not possible."""
    return changed(settings, **{name: value for name, value in change.items() if name != "optimizer"})


class Race:
    """Lanes on one loop. Started, paused, stopped and stepped as one; `max_steps` and `speed` are the race's."""

    store = folder = None  # each lane has its own

    def __init__(self, loop: TrainingThread, lanes: Sequence[Run], names: Sequence[str]) -> None:
        self.id = new_run_id()
        self.lanes, self.names = tuple(lanes), tuple(names)
        self.settings, self.version = lanes[0].settings, 0
        self.queue: Queue = SimpleQueue()
        self.drain_lock = threading.Lock()
        self.history = History()
        self.forked = lanes[0].parent is not None
        self.first_step = max((lane.step for lane in lanes), default=0)
        self.comparator = LossComparator(len(lanes))
        self._loop = loop
        self._places = {lane.id: place for place, lane in enumerate(lanes)}
        self._tables: dict[tuple[str, int], dict[int, Floats]] = {}
        if self.forked:
            self._show(lanes[0].history)

    def _show(self, before: History) -> None:
        """The way to the fork: one curve, and the table that all lanes begin with."""
        found = before.points_between("train/loss", 0, self.first_step)
        if found is not None:
            self.history.add_points(PARENT_CHANNEL, found)
        tables = {
            name: np.tile(table, (len(self.lanes), 1)) for name, table in before.tables.items() if _is_shown(name)
        }
        self.history.add([Observation(self.first_step, {}, tables)])

    # ---------------------------------------------------------------- asked by anyone

    def begin(self, steps: int | None = None) -> None:
        """Build the lanes and start them; or make so many `steps`, then hold."""
        if steps is None:
            self.start()
        else:
            self.make_steps(steps)
        self._loop.train(*self.lanes)

    def start(self) -> None:
        """Train, all lanes that can."""
        self._each(Run.start)

    def pause(self) -> None:
        """Hold after the round under way."""
        self._each(Run.pause)

    def stop(self) -> None:
        """End the race after the round under way."""
        self._each(Run.stop)

    def make_steps(self, count: int) -> None:
        """Make `count` steps in each lane, then hold."""
        self._each(Run.make_steps, count)

    def tune(self, **changes: Any) -> None:
        """Turn `max_steps` or `speed` for all lanes, between two rounds; InputError where that is not possible."""
        settings = changed(self.settings, **changes)
        if settings != self.settings:
            self.settings = settings
            self.version += 1
            self._each(lambda lane: lane.tune(changed(lane.settings, **changes)))

    def _each(self, verb: Callable[..., None], *arguments: Any) -> None:
        """Between two rounds, so that no lane is a step ahead of the others."""

        def tell() -> None:
            for lane in self.lanes:
                verb(lane, *arguments)

        self._loop.tell(tell)

    def close(self, timeout: float | None = None) -> bool:
        """End the thread and wait for it; has it ended, with everything written?"""
        closed = [lane.close(timeout) for lane in self.lanes]
        return all(closed)

    @property
    def closed(self) -> bool:
        """Has its thread ended? Its lanes are then stored runs like any others."""
        return not self._loop.is_alive()

    # ---------------------------------------------------------------- what it shows

    @property
    def state(self) -> State:
        """That of the lanes that are furthest from an end."""
        return min([lane.state for lane in self.lanes], key=STATE_ORDER.index)  # each asked once: they change meanwhile

    @property
    def alive(self) -> bool:
        """Is it under way, or about to be?"""
        return self.state not in ENDED

    @property
    def step(self) -> int:
        """The step at which all lanes stand that still train."""
        return max(lane.step for lane in self.lanes)

    @property
    def stage(self) -> int:
        """Lanes stand between two steps."""
        return 0

    @property
    def title(self) -> str:
        """What races, for people."""
        return f"race of {len(self.lanes)} lanes, {self.lanes[0].title}"

    @property
    def config(self) -> RunConfig:
        """The structure, that of the first lane."""
        return self.lanes[0].config

    @property
    def dataset(self) -> Corpus | Points:
        """What all lanes learn from."""
        return self.lanes[0].dataset

    @property
    def baselines(self) -> Any:
        """What the losses can be compared with."""
        return self.lanes[0].baselines

    @property
    def layers(self) -> tuple[str, ...]:
        """The model's parts."""
        return self.lanes[0].layers

    @property
    def built(self) -> threading.Event:
        """Set when all models are there: they are built one after another."""
        return self.lanes[-1].built

    @property
    def first_difference(self) -> int | None:
        """The first step at which not all losses are the same; None: none so far."""
        return min((step for step in self.comparator.differs_at if step is not None), default=None)

    def status(self) -> RunStatus:
        """What there is to say of the race now; what counts steps is that of the leading lane."""
        leading = max(self.lanes, key=lambda lane: lane.step)
        faults = [
            f"{name}: {lane.message}"
            for name, lane in zip(self.names, self.lanes, strict=True)
            if lane.state in (State.DIVERGED, State.FAILED)
        ]
        return replace(
            leading.status(),
            run=self.id,
            title=self.title,
            state=self.state,
            message="; ".join(faults) if self.state in (State.DIVERGED, State.FAILED) else leading.message,
            error=next((lane.error for lane in self.lanes if lane.error), None),
            warning="; ".join(faults) or None,
            trouble=False,
            made_again=next((again for lane in self.lanes if (again := lane.catch_up)), None),
            unsaved=next((lane.store.problem for lane in self.lanes if lane.store and lane.store.problem), None),
            settings=self.settings.model_dump(),
            version=self.version,
            max_steps=max(lane.settings.max_steps for lane in self.lanes),
        )

    # ---------------------------------------------------------------- on the pump's thread

    def hear(self, run: str, records: Sequence[Record]) -> None:
        """What the run of that id has made, if it is a lane."""
        place = self._places.get(run)
        if place is None:
            return
        rows = [record for record in records if isinstance(record, Scalars)]
        if rows:
            steps, losses = np.array([row[:2] for row in rows], np.float64).T
            self.history.add_points(f"train/loss/{place + 1}", SeriesPoints.whole(steps.astype(np.uint32), losses))
            self._part(self.comparator.add(place, [(row.step, row.loss) for row in rows]))
        for record in records:
            if isinstance(record, Observation):
                self._stack(place, record)
            elif isinstance(record, Sample):
                self.history.add([record._replace(lane=place + 1)])
            elif isinstance(record, Event):
                self._tell(place, record)

    def _part(self, parted: Iterable[tuple[int, int]]) -> None:
        for lane, step in parted:
            first = [step for step in self.comparator.differs_at if step is not None]
            text = "losses part" if min(first) == step else f"{self.names[lane]} parts"
            self._once(Event(step, "parted", text))

    def _tell(self, place: int, event: Event) -> None:
        if event.name in FINAL_EVENTS:
            self._part(self.comparator.end_lane(place))
        if event.name not in SHARED_EVENTS:
            event = event._replace(text=f"{self.names[place]}: {event.text}")
        self._once(event)

    def _once(self, event: Event) -> None:
        with self.history.lock:
            known = event in self.history.events
        if not known:
            self.history.add([event])

    def _stack(self, place: int, look: Observation) -> None:
        """The lanes' tables of one step as one table (lanes · rows, columns), once all of them are there."""
        for name, table in look.tables.items():
            if not _is_shown(name):
                continue
            tables = self._tables.setdefault((name, look.step), {})
            tables[place] = table
            shown = self.history.tables.get(name)
            rows = len(table)
            for lane, run in enumerate(self.lanes):  # one that is over keeps its last
                if lane not in tables and shown is not None and run.state in ENDED and run.step < look.step:
                    tables[lane] = shown[lane * rows : (lane + 1) * rows]
            if len(tables) == len(self.lanes):
                stacked = np.concatenate([tables[lane] for lane in range(len(self.lanes))])
                self.history.add([Observation(look.step, {}, {name: stacked})])
                for key in [key for key in self._tables if key[0] == name and key[1] <= look.step]:
                    del self._tables[key]
            for key in sorted(key for key in self._tables if key[0] == name)[:-MAX_WAITING]:  # one lane has none
                del self._tables[key]


def _is_shown(table: str) -> bool:
    return table.startswith("weights/")
