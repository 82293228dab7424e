"""The history of a race, put together from the records of its lanes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ...stream.history import History
from ...stream.messages import Event, Floats, Observation, Record, Sample, Scalars
from ...stream.series import SeriesPoints
from ...stream.status import ENDED, State
from ..run import Run
from .lanes import FEW_LANES
from .loss_comparator import LossComparator

PARENT_CHANNEL = "train/loss/before"
SHARED_EVENTS = ("started", "resumed", "forked", "paused", "stopped", "done", "max_steps", "speed", "epoch")
"""Events that all lanes have at once: shown once, without a lane's name."""
FINAL_EVENTS = (State.DIVERGED.value, State.FAILED.value)
"""Events after which nothing more comes of a lane."""
MAX_WAITING = 32  # tables of one name that wait for those of the other lanes


class RaceHistory:
    """One history for all lanes: a loss channel for each, their tables stacked, and where their losses first differ.

    Written in whatever thread drains the pump, one at a time.
    """

    def __init__(self, lanes: Sequence[Run], names: Sequence[str], first_step: int) -> None:
        self.lanes, self.names = tuple(lanes), tuple(names)
        self.history = History()
        self._comparator = LossComparator(len(lanes))
        self._places = {lane.id: place for place, lane in enumerate(lanes)}
        self._tables: dict[tuple[str, int], dict[int, Floats]] = {}
        if lanes[0].parent is not None:
            self._add_parent(lanes[0].history, first_step)

    @property
    def first_difference(self) -> int | None:
        """The first step at which not all losses are the same; None: none so far."""
        return min((step for step in self._comparator.differs_at if step is not None), default=None)

    def _add_parent(self, parent: History, first_step: int) -> None:
        """The way to the fork: one curve, and the tables that all lanes begin with."""
        found = parent.points_between("train/loss", 0, first_step)
        if found is not None:
            self.history.add_points(PARENT_CHANNEL, found)
        few = len(self.lanes) <= FEW_LANES
        tables = {
            name: np.tile(table, (len(self.lanes), 1))
            for name, table in parent.tables.items()
            if few and _is_shown(name)
        }
        self.history.add([Observation(first_step, {}, tables)])

    def add(self, run_id: str, records: Sequence[Record]) -> None:
        """Add the records of the run called `run_id`, if it is a lane."""
        lane = self._places.get(run_id)
        if lane is None:
            return
        rows = [record for record in records if isinstance(record, Scalars)]
        if rows:
            steps, losses = np.array([row[:2] for row in rows], np.float64).T
            self.history.add_points(f"train/loss/{lane + 1}", SeriesPoints.whole(steps.astype(np.uint32), losses))
            self._add_differences(self._comparator.add(lane, [(row.step, row.loss) for row in rows]))
        for record in records:
            if isinstance(record, Observation):
                self._stack(lane, record)
            elif isinstance(record, Sample):
                self.history.add([record._replace(lane=lane + 1)])
            elif isinstance(record, Event):
                self._add_event(lane, record)

    def _add_differences(self, found: Iterable[tuple[int, int]]) -> None:
        for lane, step in found:
            text = "losses part" if self.first_difference == step else f"{self.names[lane]} parts"
            self._add_once(Event(step, "parted", text))

    def _add_event(self, lane: int, event: Event) -> None:
        if event.name in FINAL_EVENTS:
            self._add_differences(self._comparator.end_lane(lane))
        if event.name not in SHARED_EVENTS:
            event = event._replace(text=f"{self.names[lane]}: {event.text}")
        self._add_once(event)

    def _add_once(self, event: Event) -> None:
        with self.history.lock:
            known = event in self.history.events
        if not known:
            self.history.add([event])

    def _stack(self, lane: int, seen: Observation) -> None:
        """The lanes' tables of one step as one table (lanes · rows, columns), once all of them are there.

        None of more than FEW_LANES: a viewer gets all of it at once.
        """
        if len(self.lanes) > FEW_LANES:
            return
        for name, table in seen.tables.items():
            if not _is_shown(name):
                continue
            tables = self._tables.setdefault((name, seen.step), {})
            tables[lane] = table
            shown = self.history.tables.get(name)
            rows = len(table)
            for other, run in enumerate(self.lanes):  # one that has ended keeps its last
                if other not in tables and shown is not None and run.state in ENDED and run.step < seen.step:
                    tables[other] = shown[other * rows : (other + 1) * rows]
            if len(tables) == len(self.lanes):
                stacked = np.concatenate([tables[other] for other in range(len(self.lanes))])
                self.history.add([Observation(seen.step, {}, {name: stacked})])
                for key in [key for key in self._tables if key[0] == name and key[1] <= seen.step]:
                    del self._tables[key]
            for key in sorted(key for key in self._tables if key[0] == name)[:-MAX_WAITING]:  # one lane has none
                del self._tables[key]


def _is_shown(table: str) -> bool:
    return table.startswith("weights/")
