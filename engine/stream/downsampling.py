"""Fewer numbers, the same picture: curves by MinMaxLTTB (tsdownsample) and what it leaves to its caller; tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tsdownsample import MinMaxLTTBDownsampler

MOST_CELLS = 96  # a side of a table that is shown

_downsampler = MinMaxLTTBDownsampler()  # type: ignore[no-untyped-call]


def thin(
    steps: NDArray[np.uint32], values: NDArray[np.float32], points: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """At most `points` (3 or more) of finite points [n], [n]: the first, the last, and those that give the shape."""
    places = kept(values, points)
    return steps[places], values[places]


def kept(values: NDArray[np.float32], points: int) -> NDArray[np.intp]:
    """The places of at most `points` (3 or more) of finite values [n]: as `thin` keeps them."""
    if len(values) <= points:
        return np.arange(len(values))
    places: NDArray[Any] = _downsampler.downsample(np.ascontiguousarray(values), n_out=points)
    return places.astype(np.intp)


def kept_evenly(steps: NDArray[np.uint32], values: NDArray[np.float32], points: int) -> NDArray[np.intp]:
    """The places of at most `points` (3 or more) of finite points [n], [n]: the first, the ends of equal stretches.

    A stretch's ends are its lowest and highest value. Stretches of steps, not of points: what was thinned before is
    no sparser for it, however often the series that it belongs to is thinned again.
    """
    if len(steps) <= points:
        return np.arange(len(steps))
    past = steps.astype(np.int64) - int(steps[0])
    stretch = past * ((points - 1) // 2) // (past[-1] + 1)
    begins = np.flatnonzero(np.diff(stretch, prepend=-1))
    ends = [end.reduceat(values, begins) for end in (np.minimum, np.maximum)]
    long = np.diff(begins, append=len(steps))
    places = [np.flatnonzero(values == np.repeat(end, long)) for end in ends]
    firsts = [at[np.diff(stretch[at], prepend=-1) > 0] for at in places]  # one of each stretch where several are equal
    return np.unique(np.concatenate(([0], *firsts)))


def means_of(steps: NDArray[np.uint32], means: NDArray[np.float32], places: NDArray[np.intp]) -> NDArray[np.float32]:
    """For each of `places` [k] the mean over all steps since the place before it.

    Of points [n] whose own `means` [n] are those since the point before. Peaks and valleys alone would give a wrong
    average: a curve that is thinned by them carries these along.
    """
    if not len(places):
        return np.empty(0, np.float32)
    upto = int(places[-1]) + 1
    long = np.diff(steps[:upto].astype(np.int64), prepend=int(steps[0]) - 1)
    begins = np.concatenate(([0], places[:-1] + 1))
    sums = np.add.reduceat(means[:upto].astype(np.float64) * long, begins)
    return (sums / np.add.reduceat(long, begins)).astype(np.float32)


def bins(size: int, most: int = MOST_CELLS) -> NDArray[np.intp]:
    """Where each of at most `most` groups of neighbours begins, in `size` rows or columns."""
    return np.arange(min(size, most)) * size // min(size, most)


def pooled(cells: NDArray[np.float32], most: int = MOST_CELLS) -> NDArray[np.float32]:
    """A copy of a table (rows, cols), neighbours averaged so that neither side is above `most`."""
    kept: NDArray[Any] = cells
    for axis in (0, 1):
        size = kept.shape[axis]
        if size > most:
            starts = bins(size, most)
            counts = np.diff(np.append(starts, size)).astype(np.float32)
            sums = np.add.reduceat(kept, starts, axis=axis)
            kept = sums / (counts[:, None] if axis == 0 else counts)
    return np.array(kept, np.float32, order="C")
