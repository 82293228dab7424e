"""One scalar channel of a run, step by step, in bounded memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .downsampling import kept, kept_evenly, means_of
from .messages import Floats

Steps = NDArray[np.uint32]
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
