"""The results of a race, measured lane by lane: where each loss ended, how much it scattered, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...stream.status import State
from ..run import Run
from .race import Race

MIN_STEPS = 40  # a lane with fewer has no result
AS_GOOD = 0.05  # a lane is as good as the best if its loss is higher by at most this part of what the best learnt
SURE = 3.0  # standard errors by which a mean must have fallen to count as falling
JUMPY = 1.2  # from this many times the best lane's scatter, a lane is said to jump about


@dataclass(frozen=True)
class LaneResult:
    """A lane at the end. Losses are means over its last tenth of steps, in the run's own unit."""

    name: str
    lr: float
    state: State
    step: int
    first: float
    """The loss of its first step, the same for all lanes of a race."""
    loss: float
    low: float
    """The 10th percentile of the last tenth's losses."""
    high: float
    """The 90th percentile."""
    scatter: float
    """Standard deviation over the last quarter, from the differences of successive steps, so without its trend."""
    falling: bool
    """Is the mean of the last quarter below that of the one before, for sure?"""


def lane_results(race: Race) -> list[LaneResult]:
    """The results of the lanes that have made at least MIN_STEPS, or have diverged."""
    found = [_lane_result(name, lane, race.first_step) for name, lane in zip(race.names, race.lanes, strict=True)]
    return [outcome for outcome in found if outcome is not None]


def _lane_result(name: str, lane: Run, start: int) -> LaneResult | None:
    with lane.history.lock:
        series = lane.history.series.get("train/loss")
        losses = np.empty(0) if series is None else series.view(series.capacity, start + 1).values.astype(np.float64)
    if not len(losses) or (len(losses) < MIN_STEPS and lane.state is not State.DIVERGED):
        return None
    end, quarter, before = losses[-(len(losses) // 10 or 1) :], *np.array_split(losses, 4)[:1:-1]
    error = np.hypot(_error(quarter), _error(before))
    low, high = np.percentile(end, [10, 90])
    return LaneResult(
        name,
        lane.settings.lr,
        lane.state,
        lane.step,
        float(losses[0]),
        float(end.mean()),
        float(low),
        float(high),
        scatter=float(np.diff(quarter).std() / np.sqrt(2)) if len(quarter) > 1 else 0.0,
        falling=bool(len(before)) and bool(before.mean() - quarter.mean() > SURE * error),
    )


def _error(values: NDArray[np.float64]) -> float:
    return float(values.std() / np.sqrt(len(values))) if len(values) else 0.0


def best_lane(found: list[LaneResult]) -> LaneResult | None:
    """The lane that ended lowest, of those that did not diverge or fail."""
    sound = [one for one in found if one.state not in (State.DIVERGED, State.FAILED)]
    return min(sound, key=lambda one: one.loss, default=None)


def verdict(one: LaneResult, best: LaneResult | None) -> str:
    """What its learning rate did, compared with that of the best lane."""
    if one.state is State.DIVERGED:
        return f"diverged at step {one.step + 1:,}"
    if one.state is State.FAILED or best is None:
        return one.state.value
    if one.loss - best.loss <= AS_GOOD * (best.first - best.loss):
        return "good"
    if one.lr < best.lr:
        return "too slow: still falling" if one.falling else "too slow: hardly moves"
    return "too fast: jumps about" if one.scatter > JUMPY * best.scatter else "too fast"
