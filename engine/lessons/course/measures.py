"""What is read out of a run: losses, steps, levels. Lessons measure with these; so do a teacher's own, by name."""

from __future__ import annotations

from typing import Any

from ...errors import InputError
from ...models.base import Model
from ...models.registry import build
from ...runs.run import Run
from ...stream.series import SeriesPoints
from ...sweeps.sweep import RunningSweep
from ...text.baselines import Baselines
from ...text.bigram_counts import BigramCounts
from ...training.trainer import Trainer
from ..poll import MOST_POINTS, Drawing
from ..results import Chart, Curve, ExperimentResult
from .scene import Outcome, Points

LOSS, VALIDATION, DISTANCE = "train/loss", "val/loss", "kl"
SMOOTH = 100  # losses of so many batches that are averaged


def points(run: Run, channel: str = LOSS) -> SeriesPoints:
    """Every point that is kept of a channel; InputError where the run has none."""
    with run.history.lock:
        series = run.history.series.get(channel)
        found = None if series is None else series.view(series.count)
    if found is None or not len(found.steps):
        raise InputError(f"this run has no {channel} yet; start it, or let it go on")
    return found


def first(run: Run, channel: str = LOSS) -> float:
    """The first value; of train/loss that of the first batch, before any update."""
    return float(points(run, channel).values[0])


def last(run: Run, channel: str = LOSS, count: int = 1) -> float:
    """The mean of the last `count` values."""
    return float(points(run, channel).values[-count:].mean(dtype="float64"))


def lowest(run: Run, channel: str = LOSS) -> tuple[int, float]:
    """The step of the lowest value, and the value."""
    found = points(run, channel)
    at = int(found.values.argmin())
    return int(found.steps[at]), float(found.values[at])


def highest(run: Run, channel: str = LOSS) -> tuple[int, float]:
    """The step of the highest value, and the value."""
    found = points(run, channel)
    at = int(found.values.argmax())
    return int(found.steps[at]), float(found.values[at])


def smoothed(run: Run, count: int = SMOOTH, channel: str = LOSS) -> SeriesPoints:
    """Means over `count` steps each, at the last of these."""
    found = points(run, channel)
    whole = len(found.steps) // count * count
    if not whole:
        raise InputError(f"{len(found.steps)} steps are too few for a mean over {count}; let it go on")
    means = found.values[:whole].reshape(-1, count).mean(axis=1, dtype="float64")
    return SeriesPoints.whole(found.steps[count - 1 : whole : count], means)


def step_below(found: SeriesPoints, level: float) -> int | None:
    """The first step with a value below `level`; None if there is none."""
    under = (found.values < level).nonzero()[0]
    return int(found.steps[under[0]]) if len(under) else None


def value_at(run: Run, channel: str, step: int) -> float:
    """The value at the last point up to `step`."""
    found = points(run, channel)
    before = found.values[found.steps <= step]
    if not len(before):
        raise InputError(f"this run has no {channel} up to step {step:,}; let it go on")
    return float(before[-1])


def baselines(run: Run) -> Baselines:
    """What guessing and counting cost on the run's text; InputError for a run on points."""
    if run.baselines is None:
        raise InputError(f"a {run.config.model} learns from points; choose a model of text")
    return run.baselines


def floor(run: Run) -> float:
    """The lowest loss that any bigram can have on the run's training text."""
    return baselines(run).bigram


def loss_on_text(run: Run) -> float:
    """A bigram's exact loss on its whole training text, after its last step."""
    return floor(run) + last(run, DISTANCE)


def counts(run: Run) -> BigramCounts:
    """The pairs of the run's training text; InputError for too large a vocabulary."""
    found = BigramCounts.of(run.corpus)
    if found is None:
        raise InputError(f"{run.corpus.vocab_size:,} tokens are too many for a table of pairs; choose characters")
    return found


def model_of(run: Run) -> Model:
    """A copy of the run's model as it is now, on the CPU."""
    return loaded(run, run.copy_weights()[1])


def loaded(run: Run, weights: Any) -> Model:
    """A model of the run's kind with these weights."""
    model = build(run.config, run.dataset.vocab_size)
    model.load_state_dict(weights)
    return model


def fresh_trainer(run: Run) -> Trainer:
    """A trainer that stands where the run began: the same weights, batches and knobs; it tells nobody anything."""
    trainer = Trainer(run.config, run.first_settings, run.dataset, lambda _: None)
    trainer.unwatched = True
    return trainer


def which(**holds: bool) -> int:
    """The place of the one statement that holds; InputError if none does, or several."""
    true = [place for place, held in enumerate(holds.values()) if held]
    if len(true) != 1:
        raise InputError(
            "what came out is none of the options; set the experiment up again as the lesson has it, and run it"
            if not true
            else "what came out is more than one of the options; run the experiment once more as the lesson has it"
        )
    return true[0]


def run_of(outcome: Outcome) -> Run:
    """The run that an experiment was."""
    if outcome.run is None:
        raise InputError("there is no run to measure; start the experiment first")
    return outcome.run


def result_of(outcome: Outcome) -> ExperimentResult:
    """The result that a what-if gave."""
    if outcome.result is None:
        raise InputError("there is no result to measure; start the experiment first")
    return outcome.result


def sweep_of(outcome: Outcome) -> RunningSweep:
    """The sweep that bets were trained in; InputError before its first look."""
    if outcome.sweep is None or not outcome.sweep.moments:
        raise InputError("there are no trained bets to measure; start the experiment first")
    return outcome.sweep


def chart_curve(result: ExperimentResult, name: str) -> Curve:
    """The curve called `name` of a result's charts."""
    return next(
        curve
        for display in result.displays
        if isinstance(display, Chart)
        for curve in display.curves
        if curve.name == name
    )


def drawn(kind: Drawing, steps: Any, values: Any) -> Points:
    """A curve as the points of an answer: means over equal stretches, as many as one may draw, within the bounds."""
    inside = [(float(s), float(v)) for s, v in zip(steps, values, strict=True) if kind.first <= s <= kind.last]
    every = -(-len(inside) // MOST_POINTS)
    pieces = [inside[at : at + every] for at in range(0, len(inside), max(1, every))]
    return tuple(
        (piece[-1][0], min(max(sum(v for _, v in piece) / len(piece), kind.low), kind.high)) for piece in pieces
    )
