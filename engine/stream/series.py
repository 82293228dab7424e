"""One scalar channel of a run, step by step, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .downsampling import evenly_kept_indices, kept_indices, means_between
from .messages import Floats

Steps = NDArray[np.uint32]
LARGEST = float(np.finfo(np.float32).max)
GAPS = ":nan"  # suffix of the channel that marks where one is no finite number, at the height of the value before
MEAN = ":mean"  # suffix of the channel with the means that belong to thinned points


def narrowed(values: NDArray[np.floating[Any]]) -> Floats:
    """As float32, in which a finite number beyond its range is the largest that there is."""
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(values, np.float32)
    if (infinite := np.isinf(narrow)).any():
        beyond = infinite & np.isfinite(values)
        narrow[beyond] = np.copysign(np.float32(LARGEST), narrow[beyond])
    return narrow


def is_averaged(channel: str) -> bool:
    """Whether a moving average of the channel is drawn, so that its means must be sent with its points."""
    return channel in ("train/loss", "grad_norm") or channel.startswith("train/loss/")


class SeriesPoints(NamedTuple):
    """Points [n] of a channel, thinned or not; `means` [n] are the means over all steps since the point before."""

    steps: Steps
    values: Floats
    means: Floats

    @classmethod
    def whole(cls, steps: Steps, values: NDArray[np.floating[Any]]) -> SeriesPoints:
        """Points [n] without thinning: each is its own mean."""
        narrow = narrowed(values)
        return cls(steps, narrow, narrow)

    def thinned(self, points: int, also: Sequence[int] = ()) -> SeriesPoints:
        """At most `points` of them, extremes kept, and among them the points of the steps in `also`."""
        if len(self.steps) <= points:
            return self
        extremes = kept_indices(self.values, max(3, points - len(also)))
        return self.at(np.union1d(extremes, np.flatnonzero(np.isin(self.steps, also))))

    def at(self, places: NDArray[np.intp]) -> SeriesPoints:
        """Those at the indices `places`, in ascending order."""
        if len(places) == len(self.steps):
            return self
        return SeriesPoints(self.steps[places], self.values[places], means_between(self.steps, self.means, places))


class Series:
    """One scalar channel, step by step, in bounded memory.

    Up to `capacity` every point is kept; then the older half is thinned to a quarter of its points, evenly over its
    steps and with its extremes kept, so memory does not grow with the run. Dropped points still count in the means.
    """

    def __init__(self, capacity: int = 1 << 20) -> None:
        self.capacity = capacity
        self.count = 0
        self._steps: Steps = np.empty(1024, np.uint32)
        self._values: Floats = np.empty(1024, np.float32)
        self._means = self._values  # until a point stands for several steps

    def extend(self, points: SeriesPoints) -> None:
        """Append points with ascending steps."""
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

    def mean_before(self, step: int | None, window: int) -> float | None:
        """The mean of the last `window` steps up to `step` (None: the newest); None where there is no point.

        It is the same however many points were thinned away: each stands for the steps since the one before.
        """
        end = self.count if step is None else int(np.searchsorted(self._steps[: self.count], step, "right"))
        if not end:
            return None
        steps = self._steps[:end]
        left_out = int(steps[-1]) - window
        begin = int(np.searchsorted(steps, max(0, left_out), "right"))
        first = max(int(steps[begin - 1]), left_out) if begin else int(steps[0]) - 1
        ends = np.concatenate(([first], steps[begin:].astype(np.int64)))
        return float(np.average(self._means[begin:end].astype(np.float64), weights=ends[1:] - ends[:-1]))

    @property
    def last_step(self) -> int:
        """The step of the newest point; 0 where there is none."""
        return int(self._steps[self.count - 1]) if self.count else 0

    def _thin_older_half(self) -> None:
        half = self.count // 2
        older = evenly_kept_indices(self._steps[:half], self._values[:half], half // 4)
        self._put(0, self._whole().at(np.concatenate((older, np.arange(half, self.count)))))

    def _put(self, start: int, points: SeriesPoints) -> None:
        if points.means is not points.values and self._means is self._values:
            self._means = self._values.copy()
        self.count = start + len(points.steps)
        for column, new in zip((self._steps, self._values, self._means), points, strict=True):
            column[start : self.count] = new

    def _whole(self) -> SeriesPoints:
        return SeriesPoints(self._steps[: self.count], self._values[: self.count], self._means[: self.count])

    def view(self, points: int, first: int = 0, last: int | None = None, also: Sequence[int] = ()) -> SeriesPoints:
        """A copy of at most `points` points with steps in first..last: extremes, and those of the steps in `also`."""
        steps = self._steps[: self.count]
        low = int(np.searchsorted(steps, first, "left"))
        high = self.count if last is None else int(np.searchsorted(steps, last, "right"))
        found = SeriesPoints(self._steps[low:high], self._values[low:high], self._means[low:high])
        found = found.thinned(points, also)
        return SeriesPoints(found.steps.copy(), found.values.copy(), found.means.copy())
