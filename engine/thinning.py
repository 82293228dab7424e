"""Fewer points, the same picture: MinMaxLTTB (tsdownsample) with what it leaves to its caller."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tsdownsample import MinMaxLTTBDownsampler

_downsampler = MinMaxLTTBDownsampler()  # type: ignore[no-untyped-call]


def thin(
    steps: NDArray[np.uint32], values: NDArray[np.float32], points: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """At most `points` (3 or more) of finite points [n], [n]: the first, the last, and those that give the shape."""
    if len(steps) <= points:
        return steps.copy(), values.copy()
    kept = _downsampler.downsample(np.ascontiguousarray(values), n_out=points)
    return steps[kept], values[kept]
