"""Downsampling: curves by MinMaxLTTB (tsdownsample) or evenly over steps, with correct means; tables by pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tsdownsample import MinMaxLTTBDownsampler

MAX_CELLS = 96  # rows or columns of a table that is sent to viewers

_downsampler = MinMaxLTTBDownsampler()  # type: ignore[no-untyped-call]


def downsample(
    steps: NDArray[np.uint32], values: NDArray[np.float32], points: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """At most `points` (3 or more) of finite points [n], [n]: the first, the last, and those that keep the shape."""
    places = kept_indices(values, points)
    return steps[places], values[places]


def kept_indices(values: NDArray[np.float32], points: int) -> NDArray[np.intp]:
    """The indices of the at most `points` (3 or more) values that `downsample` keeps of finite values [n]."""
    if len(values) <= points:
        return np.arange(len(values))
    places: NDArray[Any] = _downsampler.downsample(np.ascontiguousarray(values), n_out=points)
    return places.astype(np.intp)


def evenly_kept_indices(steps: NDArray[np.uint32], values: NDArray[np.float32], points: int) -> NDArray[np.intp]:
    """The indices of at most `points` (3 or more) of finite points [n], [n]: the first, and each interval's extremes.

    The steps are divided into equal intervals, and the lowest and highest value of each is kept. Because intervals are
    of steps, not of points, a series that is thinned again and again does not get sparser in its older part.
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


def means_between(
    steps: NDArray[np.uint32], means: NDArray[np.float32], places: NDArray[np.intp]
) -> NDArray[np.float32]:
    """For each index in `places` [k], the mean over all steps since the index before it.

    `means` [n] are each point's own means over the steps since the point before. Kept extremes alone would average
    wrongly, so a thinned series carries these means along.
    """
    if not len(places):
        return np.empty(0, np.float32)
    upto = int(places[-1]) + 1
    long = np.diff(steps[:upto].astype(np.int64), prepend=int(steps[0]) - 1)
    begins = np.concatenate(([0], places[:-1] + 1))
    sums = np.add.reduceat(means[:upto].astype(np.float64) * long, begins)
    return (sums / np.add.reduceat(long, begins)).astype(np.float32)


def bin_starts(size: int, most: int = MAX_CELLS) -> NDArray[np.intp]:
    """The first index of each of at most `most` groups of neighbours, in `size` rows or columns."""
    return np.arange(min(size, most)) * size // min(size, most)


def pool_table(cells: NDArray[np.float32], most: int = MAX_CELLS) -> NDArray[np.float32]:
    """A copy of a table (rows, cols), neighbours averaged so that neither side is above `most`."""
    pooled: NDArray[Any] = cells
    for axis in (0, 1):
        size = pooled.shape[axis]
        if size > most:
            starts = bin_starts(size, most)
            counts = np.diff(np.append(starts, size)).astype(np.float32)
            sums = np.add.reduceat(pooled, starts, axis=axis)
            pooled = sums / (counts[:, None] if axis == 0 else counts)
    return np.array(pooled, np.float32, order="C")
