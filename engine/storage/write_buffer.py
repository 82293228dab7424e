"""What a run has made and its disk has not taken yet, in bounded memory however long that lasts.

Nothing is lost for hours: of a disk that refuses, steps wait in packed blocks, and tables for scrubbing are thinned.
Knows no disk.
"""

from __future__ import annotations

import threading

from ..stream.messages import Observation, Record, Scalars
from ..training.checkpoint import Snapshot
from .metrics import Block, blocks

Item = list[Record] | Snapshot | threading.Event
MOST_BYTES = 48_000_000  # of packed steps: about four million
MOST_LOOKS = 20_000  # of a few kB each
MOST_SNAPSHOTS = 16
MOST_TABLED = 32  # looks that keep their tables, at most 37 kB each


class WriteBuffer:
    """Records, snapshots, and who waits for them to be written."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.asking: list[threading.Event] = []
        self.reached = 0
        """The last step that was handed over."""
        self.lost_before: int | None = None
        """The step before which some of the run's numbers had to be given up."""
        self._rows: list[Scalars] = []
        self._blocks: list[Block] = []
        self._others: list[Record] = []

    def take(self, item: Item) -> None:
        """Add what was handed over, in the order in which it was."""
        if isinstance(item, Snapshot):
            self.snapshots.append(item)
            if len(self.snapshots) > MOST_SNAPSHOTS:  # a disk that is slower than they come
                self.snapshots.pop(1)
        elif isinstance(item, threading.Event):
            self.asking.append(item)
        else:
            for record in item:
                (self._rows if type(record) is Scalars else self._others).append(record)  # type: ignore[arg-type]
            if self._rows:
                self.reached = max(self.reached, self._rows[-1].step)

    @property
    def records(self) -> list[Record | Block]:
        """All that goes into the database."""
        return [*self._blocks, *self._rows, *self._others]

    def forget_records(self) -> None:
        """They are written."""
        self._rows, self._blocks, self._others = [], [], []

    def squeeze(self, best: int | None) -> None:
        """Make it small, since it waits: of the snapshots only the newest and the one of step `best` stay."""
        self._blocks += blocks(self._rows)
        self._rows = []
        self.snapshots = [kept for kept in self.snapshots if kept.step == best or kept is self.snapshots[-1]]
        size = sum(len(block.data) for block in self._blocks)
        while size > MOST_BYTES:
            gone = self._blocks.pop(0)
            size -= len(gone.data)
            self.lost_before = gone.first + gone.steps
        looks = [place for place, record in enumerate(self._others) if isinstance(record, Observation)]
        for place in looks[:-MOST_LOOKS]:
            self.lost_before = max(self.lost_before or 0, self._others[place].step)
        gone_looks = set(looks[:-MOST_LOOKS])
        tabled = [place for place in looks if self._others[place].tables]  # type: ignore[union-attr]
        bare = set(tabled[1:-1:2]) if len(tabled) > MOST_TABLED else set()
        self._others = [
            Observation(record.step, record.scalars, {}) if place in bare else record  # type: ignore[union-attr]
            for place, record in enumerate(self._others)
            if place not in gone_looks
        ]
