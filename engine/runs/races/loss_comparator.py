"""The first step at which the losses of lanes with a common start differ, bit for bit."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable


class LossComparator:
    """Compares the losses of each lane with those of lane 0, step by step, however they arrive.

    All lanes begin at the same step. `differs_at` has for each lane the first step at which it differs, or None.
    """

    def __init__(self, lanes: int) -> None:
        self.differs_at: list[int | None] = [None] * lanes
        self._waiting = [deque[tuple[int, float]]() for _ in range(lanes)]
        self._ended = [False] * lanes

    def add(self, lane: int, losses: Iterable[tuple[int, float]]) -> list[tuple[int, int]]:
        """Add a lane's next (step, loss) pairs; returns the (lane, step) of each difference found by that."""
        if self.differs_at[lane] is None:
            self._waiting[lane].extend(losses)
        return self._compare()

    def end_lane(self, lane: int) -> list[tuple[int, int]]:
        """This lane has diverged or failed, no loss follows; returns the (lane, step) of each difference found."""
        self._ended[lane] = True
        return self._compare()

    def _compare(self) -> list[tuple[int, int]]:
        found = []
        first = self._waiting[0]
        while (lanes := self._equal_so_far()) and first and all(self._waiting[lane] for lane in lanes):
            step, loss = first.popleft()
            for lane in lanes:
                if not equal(self._waiting[lane].popleft()[1], loss):
                    self.differs_at[lane] = step
                    self._waiting[lane].clear()
                    found.append((lane, step))
        if not lanes or (self._ended[0] and not first):  # nothing is left to compare
            for waiting in self._waiting:
                waiting.clear()
        return found

    def _equal_so_far(self) -> list[int]:
        """The lanes that are still to be compared."""
        lanes = range(1, len(self.differs_at))
        return [
            lane for lane in lanes if self.differs_at[lane] is None and (self._waiting[lane] or not self._ended[lane])
        ]


def equal(one: float, other: float) -> bool:
    """Are both the same number, or both NaN?"""
    return one == other or (math.isnan(one) and math.isnan(other))
