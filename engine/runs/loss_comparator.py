"""Where losses part that began alike: the first step at which a lane's loss is not that of the first lane, exactly.

Compares numbers as they come, lane by lane and step by step; knows no run.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable


class LossComparator:
    """Lanes from 0 on, all from one step on; `at` has for each the step at which it parted from lane 0, or None."""

    def __init__(self, lanes: int) -> None:
        self.at: list[int | None] = [None] * lanes
        self._waiting = [deque[tuple[int, float]]() for _ in range(lanes)]
        self._over = [False] * lanes

    def hear(self, lane: int, losses: Iterable[tuple[int, float]]) -> list[tuple[int, int]]:
        """Take a lane's next steps and losses; returns which lanes have parted by that, and at which step."""
        if self.at[lane] is None:  # of one that has parted nothing is compared any more
            self._waiting[lane].extend(losses)
        return self._compare()

    def end(self, lane: int) -> list[tuple[int, int]]:
        """Nothing more comes of this lane: it diverged or failed."""
        self._over[lane] = True
        return self._compare()

    def _compare(self) -> list[tuple[int, int]]:
        parted = []
        first = self._waiting[0]
        while (lanes := self._alike()) and first and all(self._waiting[lane] for lane in lanes):
            step, loss = first.popleft()
            for lane in lanes:
                if not same(self._waiting[lane].popleft()[1], loss):
                    self.at[lane] = step
                    self._waiting[lane].clear()
                    parted.append((lane, step))
        if not lanes or (self._over[0] and not first):  # nothing is left to compare
            for waiting in self._waiting:
                waiting.clear()
        return parted

    def _alike(self) -> list[int]:
        """The lanes that are still to be compared."""
        lanes = range(1, len(self.at))
        return [lane for lane in lanes if self.at[lane] is None and (self._waiting[lane] or not self._over[lane])]


def same(one: float, other: float) -> bool:
    """Are both the same number, or both none?"""
    return one == other or (math.isnan(one) and math.isnan(other))
