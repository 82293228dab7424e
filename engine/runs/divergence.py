"""What led to a divergence, in numbers from the history, and the step to rewind to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import numpy as np

from ..config import RunConfig
from ..presets import preset
from ..stream.history import MAX_POINTS, History
from ..stream.messages import Event

REWIND_STEPS = 50
"""Steps before the trouble at which a run is taken up again."""
KNOBS = ("lr", "batch_size", "weight_decay", "grad_clip")
USUAL_STEPS = 100  # before the last REWIND_STEPS; later values are compared with the median of these
LAST_LOSSES = 5
USUAL_RATES = {"adamw": 1e-3, "muon": 1e-3, "sgd": 0.1}
"""What an optimizer trains well with, where the run's preset has another one."""
FAR_TOO_HIGH = 20.0
"""Times the usual rate, from which half of a rate is no remedy for a run that was in trouble from its first steps."""
UNUSUAL = 3.0  # times its usual size, from which a layer's update or gradient is unusual

Point = tuple[int, float]


@dataclass(frozen=True)
class Divergence:
    """What led to a divergence. Steps count from 1; losses as everywhere, update ratios are ‖Δw‖ ÷ ‖w‖."""

    trouble: int
    """The step at which the trouble began, judging by the losses."""
    losses: tuple[Point, ...]
    """The last finite ones."""
    usual_loss: float | None
    grad_norm: Point | None
    """The largest since shortly before the trouble; usual_norm is the median before that."""
    usual_norm: float | None
    update: tuple[int, str, float] | None
    """The largest of the observed steps since then: step, layer, ratio."""
    first: tuple[int, str, str, float] | None
    """The first unusual layer: step, layer, "update" or "gradient", times its usual size."""
    fault: str | None
    """What was not finite, and where."""
    turned: tuple[Event, ...]
    """The settings changed on the way."""
    rates: tuple[tuple[int, float, float], ...] = ()
    """Those of them that are learning rates: after which step, from what to what."""


def find_divergence(history: History, layers: tuple[str, ...], last: int, limit: float = math.inf) -> Divergence:
    """What led to the divergence of a run whose last update was step `last`; a loss above `limit` is absurd."""
    trouble = trouble_began(history, last, limit)
    since = trouble - REWIND_STEPS
    before, calm = (_points(history, channel, since - USUAL_STEPS, since) for channel in ("train/loss", "grad_norm"))
    norms = _points(history, "grad_norm", since + 1)
    ratios = {layer: _points(history, f"update_ratio/{layer}", 0) for layer in layers}
    gradients = {layer: _points(history, f"grad_norm/{layer}", 0) for layer in layers}
    recent = [(ratio, step, layer) for layer, points in ratios.items() for step, ratio in points if step > since]
    grown = [*_unusual(ratios, "update", since), *_unusual(gradients, "gradient", since)]
    with history.lock:
        events = list(history.events)
    turned = tuple(event for event in events if event.name in KNOBS and event.step > since)
    faults = [event.text for event in events if event.name == "not finite" and event.step > last]
    top = max(recent, default=None)
    return Divergence(
        trouble,
        tuple(_points(history, "train/loss", last - REWIND_STEPS)[-LAST_LOSSES:]),
        _median([loss for _, loss in before]),
        max(norms, key=lambda point: point[1], default=None),
        _median([norm for _, norm in calm]),
        None if top is None else (top[1], top[2], top[0]),
        min(grown, key=lambda found: (found[0], -found[3]), default=None),
        faults[-1] if faults else None,
        turned,
        tuple(_rates(history, [event.step for event in turned if event.name == "lr"])),
    )


def _rates(history: History, turned: list[int]) -> Iterator[tuple[int, float, float]]:
    """After each of these steps, the learning rate before and after; what was turned twice between two steps, once."""
    for step in dict.fromkeys(turned):
        after = _points(history, "lr", step + 1, step + 1)
        if (before := rate_at(history, step)) is not None and after:
            yield step, before, _as_set(after[0][1])


def rate_at(history: History, step: int) -> float | None:
    """The learning rate of update `step` (of the first one for step 0), as far as the history goes back."""
    found = _points(history, "lr", 0, max(1, step))
    return _as_set(found[-1][1]) if found else None


def _as_set(rate: float) -> float:
    """A rate as a person set it: the history has float32."""
    return float(f"{rate:.6g}")


def lower_rate(lr: float, step: int, config: RunConfig) -> float:
    """The learning rate to start again with from `step`, where it was `lr`.

    Half of it: it did well up to there. A run that was in trouble from its first steps has not shown that, so that one
    gets the usual rate of its preset and optimizer where `lr` is far above that.
    """
    own = preset(config.preset)
    same = own.config.optimizer == config.optimizer
    usual = own.settings.lr if same else USUAL_RATES[config.optimizer]
    return usual if step == 0 and lr >= FAR_TOO_HIGH * usual else lr / 2


def rewind_step(history: History, last: int, limit: float = math.inf) -> int:
    """The step to rewind to: REWIND_STEPS before the trouble that the last update was in.

    Where a knob was turned in the steps just before the trouble, REWIND_STEPS before that; knobs turned later did not
    cause it.
    """
    trouble = trouble_began(history, last, limit)
    with history.lock:
        turned = [event.step for event in history.events if event.name in KNOBS]
    return max(
        0, min((step for step in turned if trouble - REWIND_STEPS < step <= trouble), default=trouble) - REWIND_STEPS
    )


def trouble_began(history: History, last: int, limit: float) -> int:
    """The first step of the trouble that step `last` is in: from there the loss is never below `limit` for long."""
    trouble = last
    for end in range(last, -1, -MAX_POINTS):  # so few at a time come without gaps
        found = history.points_between("train/loss", max(0, end - MAX_POINTS + 1), end)
        if found is None:
            break
        if not len(found.steps):
            continue
        # A long run keeps few of its early steps; one low loss may stand for many high ones, so its bin's mean counts.
        high = ~(np.maximum(found.values, found.means) <= limit)
        steps = found.steps.astype(np.int64)
        following = np.minimum.accumulate(np.where(high, steps, trouble)[::-1])[::-1]  # for each step the next high one
        calm = np.flatnonzero(~high & (following - steps > REWIND_STEPS))
        if len(calm):
            return int(following[calm[-1]])
        trouble = int(following[0])
    return trouble


def _points(history: History, channel: str, first: int, last: int | None = None) -> list[Point]:
    found = history.points_between(channel, max(0, first), last)
    if found is None:
        return []
    return list(zip(found.steps.tolist(), found.values.tolist(), strict=True))


def _unusual(series: dict[str, list[Point]], what: str, since: int) -> Iterator[tuple[int, str, str, float]]:
    """The first point of each layer after `since` that is UNUSUAL times the median of those before."""
    for layer, points in series.items():
        usual = _median([value for step, value in points if step <= since][-USUAL_STEPS:])
        for step, value in points:
            if step > since and usual and value > UNUSUAL * usual:
                yield step, layer, what, value / usual
                break


def _median(values: list[float]) -> float | None:
    return median(values) if values else None
