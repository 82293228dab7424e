"""A bounded buffer of what is still to be written, for a disk that is slow or refuses.

Nothing is lost for hours: waiting steps are packed into blocks, and tables for scrubbing are thinned.
"""

from __future__ import annotations

import threading

from ..stream.messages import Observation, Record, Scalars
from ..training.checkpoint import Snapshot
from .metrics.rows import PackedBlock, pack_steps

Item = list[Record] | Snapshot | threading.Event
MOST_BYTES = 48_000_000  # of packed steps: about four million
MOST_OBSERVATIONS = 20_000  # of a few kB each
MOST_SNAPSHOTS = 16
MOST_WITH_TABLES = 32  # observations that keep their tables, at most 37 kB each


class WriteBuffer:
    """Records and snapshots that wait to be written, and events to set when they are."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.waiters: list[threading.Event] = []
        self.last_step = 0
        """The last step that was handed over."""
        self.lost_before: int | None = None
        """The step before which some of the run's numbers had to be given up."""
        self._rows: list[Scalars] = []
        self._blocks: list[PackedBlock] = []
        self._others: list[Record] = []

    def add(self, item: Item) -> None:
        """Add what was handed over."""
        if isinstance(item, Snapshot):
            self.snapshots.append(item)
            if len(self.snapshots) > MOST_SNAPSHOTS:  # a disk that is slower than they come
                self.snapshots.pop(1)
        elif isinstance(item, threading.Event):
            self.waiters.append(item)
        else:
            for record in item:
                (self._rows if type(record) is Scalars else self._others).append(record)  # type: ignore[arg-type]
            if self._rows:
                self.last_step = max(self.last_step, self._rows[-1].step)

    @property
    def records(self) -> list[Record | PackedBlock]:
        """All that goes into the database."""
        return [*self._blocks, *self._rows, *self._others]

    def clear_records(self) -> None:
        """Forget the records: they are written."""
        self._rows, self._blocks, self._others = [], [], []

    def shrink(self, best: int | None) -> None:
        """Make what waits small: of the snapshots only the newest and the one of step `best` stay."""
        self._blocks += pack_steps(self._rows)
        self._rows = []
        self.snapshots = [kept for kept in self.snapshots if kept.step == best or kept is self.snapshots[-1]]
        size = sum(len(block.data) for block in self._blocks)
        while size > MOST_BYTES:
            dropped = self._blocks.pop(0)
            size -= len(dropped.data)
            self.lost_before = dropped.first + dropped.steps
        self._shrink_observations()

    def _shrink_observations(self) -> None:
        """Drop the oldest beyond MOST_OBSERVATIONS, and every second one's tables beyond MOST_WITH_TABLES."""
        observed = [place for place, record in enumerate(self._others) if isinstance(record, Observation)]
        dropped = set(observed[:-MOST_OBSERVATIONS])
        for place in dropped:
            self.lost_before = max(self.lost_before or 0, self._others[place].step)
        with_tables = [place for place in observed if self._others[place].tables]  # type: ignore[union-attr]
        thinned = set(with_tables[1:-1:2]) if len(with_tables) > MOST_WITH_TABLES else set()
        self._others = [
            Observation(record.step, record.scalars, {}) if place in thinned else record  # type: ignore[union-attr]
            for place, record in enumerate(self._others)
            if place not in dropped
        ]
