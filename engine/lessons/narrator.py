"""The narrator: one line in words about what just happened in a run, from its numbers and events.

Each rule looks at a run up to a step and tells the newest thing of its kind that it finds there; of all rules the one
whose step is the newest has the word. Rules use nothing that came later, so an earlier step has the line that it had.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formatting import format_number
from ..stream.history import History
from ..stream.messages import Event
from ..stream.series import SeriesPoints
from ..text.baselines import Baselines

LEAST_WINDOW = 20  # steps whose losses are averaged, at the least
WINDOW = 0.02  # and as a share of the steps so far
WORSE = 1.02  # times guessing: worse than it
NEAR_FLOOR = 1.03  # times its floor: a bigram is as good as there
LOST = 1.05  # times a level: the loss is above it again, and that is no scatter
SETTLED = 100  # steps after a change of the learning rate, until its effect is told; a share of the steps if more
FLAT = 0.005  # a smaller part of the loss gained in the second half of the steps: nothing is gained any more
FEWEST = 500  # steps before a run may be called flat
TURNED = 1.01  # times its lowest: validation has turned
EVALUATIONS = 3  # so many after the lowest
BEND = 0.01  # a smaller part of the loss is no change
FORGOTTEN = 1.05  # times the first loss on the text before
RATE_AROUND = 50  # steps before and after a change that are asked for the rate

Values = NDArray[np.float64]
Steps = NDArray[np.int64]


class Line(NamedTuple):
    """What happened after `step` updates, as a sentence for people."""

    step: int
    text: str


@dataclass(frozen=True)
class Subject:
    """What the narrator knows of a run beside its history."""

    baselines: Baselines | None
    """Of the text that it learns from; None for a run on points, or for somebody's own loop."""
    pairs: bool
    """Does the model see one token only, as a bigram does?"""
    letters: bool
    """Is a token a character?"""


class Past:
    """The numbers and events of a run up to `step`."""

    def __init__(self, history: History, subject: Subject, step: int | None = None) -> None:
        self.history, self.subject = history, subject
        train = history.points_between("train/loss", 0, step)
        self.step = (int(train.steps[-1]) if train is not None and len(train.steps) else 0) if step is None else step
        self.steps, self.losses = _averaged(train)
        """Steps [n] and the average of the last training losses there [n], nats per token for a text."""
        with history.lock:
            # a step that was withheld has no loss: its event comes after the last one
            self.events = [event for event in history.events if step is None or event.step <= step]

    def points(self, channel: str) -> tuple[Steps, Values]:
        """Steps and values [n] of a channel."""
        found = self.history.points_between(channel, 0, self.step)
        if found is None:
            return np.empty(0, np.int64), np.empty(0)
        return found.steps.astype(np.int64), found.values.astype(np.float64)

    def loss(self, step: float) -> float:
        """The averaged training loss at `step`; nan before the first."""
        at = int(np.searchsorted(self.steps, step, "right")) - 1
        return float(self.losses[at]) if at >= 0 else math.nan

    def newest(self, *names: str) -> Event | None:
        """The newest event with one of these names."""
        return next((event for event in reversed(self.events) if event.name in names), None)

    @cached_property
    def turn(self) -> tuple[int, float, float] | None:
        """The newest change of the learning rate after which a step was made: its step, the rate before and after."""
        for event in reversed(self.events):
            if event.name != "lr":
                continue
            before = self.history.points_between("lr", max(0, event.step - RATE_AROUND), event.step)
            after = self.history.points_between("lr", event.step + 1, min(self.step, event.step + RATE_AROUND))
            if before is not None and after is not None and len(before.steps) and len(after.steps):
                return event.step, float(before.values[-1]), float(after.values[0])
        return None


def line_at(history: History, subject: Subject, step: int | None = None) -> Line | None:
    """The line for a run as it was after `step` updates (None: where it stands); None while there is nothing to tell.

    The same history, subject and step give the same line.
    """
    past = Past(history, subject, step)
    told = [line for rule in RULES if (line := rule(past)) is not None]
    return max(told, key=lambda line: line.step, default=None)  # of two at one step that of the earlier rule


# ---------------------------------------------------------------- the rules, the most important first


def diverged(past: Past) -> Line | None:
    """The run has ended in numbers that are none."""
    event = past.newest("diverged")
    if event is None:
        return None
    rate = past.history.points_between("lr", 0, event.step)
    at = "" if rate is None or not len(rate.steps) else f" at learning rate {format_number(rate.values[-1], 3)}"
    return Line(event.step, f"Diverged{at}: the steps were too large, until the loss was no number any more.")


def leapt(past: Past) -> Line | None:
    """The loss has spiked."""
    event = past.newest("leap")
    if event is None:
        return None
    return Line(
        event.step,
        f"The loss leapt at step {event.step:,}: one update went too far. If it stays up, lower the learning rate.",
    )


def forgets(past: Past) -> Line | None:
    """A fine-tuned model gets worse at the text that it learnt before."""
    steps, losses = past.points("val/former_loss")
    if len(losses) < 2:
        return None
    worse = np.flatnonzero(losses > FORGOTTEN * losses[0])
    if not len(worse):
        return None
    now = _loss(losses[worse[0]])
    return Line(
        int(steps[worse[0]]),
        f"It forgets the text before: its loss there rose from {_loss(losses[0])} to {now}.",
    )


def learns_by_heart(past: Past) -> Line | None:
    """Validation has turned up while training goes on down."""
    steps, losses = past.points("val/loss")
    if len(losses) <= EVALUATIONS:
        return None
    places = np.arange(len(losses))
    lowest = np.minimum.accumulate(losses)
    when = np.maximum.accumulate(np.where(losses <= lowest, places, 0))  # of the lowest so far
    higher = np.flatnonzero((losses > TURNED * lowest) & (places - when >= EVALUATIONS))
    if not len(higher):
        return None
    low = when[higher[-1]]
    turned = higher[when[higher] == low][0]  # the first that says so of this lowest one
    if not past.loss(steps[turned]) < past.loss(max(steps[low], 1)):
        return None  # both go up: that is no memorizing
    return Line(
        int(steps[turned]),
        f"Validation turned up (lowest: {_loss(losses[low])} at step {steps[low]:,}) while training falls: "
        "it starts to learn by heart.",
    )


def rungs(past: Past) -> Line | None:
    """The averaged loss has passed one of the text's baselines, or is above it again."""
    base = past.subject.baselines
    if base is None or not len(past.losses) or not math.isfinite(base.bigram):
        return None
    kind = "letter" if past.subject.letters else "token"
    floor = base.bigram * NEAR_FLOOR if past.subject.pairs else base.bigram
    levels = np.array([base.uniform, base.unigram, floor])
    passed = [
        f"Better than guessing ({base.uniform:.3f}): it no longer gives every {kind} the same chance.",
        f"It has learnt how frequent {kind}s are: the loss is below {base.unigram:.3f}. Next, which follows which.",
        f"At the floor of every bigram, {base.bigram:.3f}: one {kind} tells no more about the next."
        if past.subject.pairs
        else f"Below the floor of every bigram, {base.bigram:.3f}: it uses more than the last {kind}.",
    ]
    lost = [
        f"Worse than guessing ({base.uniform:.3f}): it has lost what it knew. The steps are too large.",
        f"It has lost how frequent {kind}s are: the loss is above {base.unigram:.3f} again.",
        f"Above the floor of every bigram, {base.bigram:.3f}, again.",
    ]
    below = (past.losses[:, None] < levels).sum(axis=1)
    within = (past.losses[:, None] < levels * LOST).sum(axis=1)
    rung, told = 0, None
    for at in np.flatnonzero(np.diff(below, prepend=-1) | np.diff(within, prepend=-1)):
        if below[at] > rung:
            rung = int(below[at])
            told = Line(int(past.steps[at]), passed[rung - 1])
        elif within[at] < rung:
            rung = int(within[at])
            told = Line(int(past.steps[at]), lost[rung])
    return told


def turned_rate(past: Past) -> Line | None:
    """Somebody has turned the learning rate; after a while, what came of it."""
    if past.turn is None:
        return None
    step, before, after = past.turn
    raised = after > before
    change = f"from {format_number(before, 3)} to {format_number(after, 3)} at step {step:,}"
    told = f"Learning rate {'raised' if raised else 'lowered'} {change}"
    settled = step + max(SETTLED, math.ceil(WINDOW * step))
    if not len(past.steps) or past.steps[-1] < settled:
        return Line(step, f"{told}: watch the bend.")
    was, now = past.loss(step), past.loss(settled)
    if not (math.isfinite(was) and math.isfinite(now)):
        return Line(step, f"{told}.")
    if now > (1 + BEND) * was:
        end = "Too high: it overshoots." if raised else "It was rising already."
    elif now < (1 - BEND) * was:
        end = "It bends down." if raised else "Smaller steps overshoot less."
    else:
        end = "Hardly a bend."
    return Line(settled, f"{told}, loss {_loss(was)} to {_loss(now)} since. {end}")


def turned_knob(past: Past) -> Line | None:
    """Another knob was turned."""
    event = past.newest("batch_size", "weight_decay", "grad_clip")
    return None if event is None else Line(event.step, f"At step {event.step:,}: {event.text}. Watch what bends.")


def flat(past: Past) -> Line | None:
    """Nothing has been gained since half of the steps: told once after the start or a change of a knob."""
    base = past.subject.baselines
    floor = base.bigram * NEAR_FLOOR if base is not None and past.subject.pairs else 0.0
    event = past.newest("lr", "batch_size", "weight_decay", "grad_clip")
    since = 0 if event is None else event.step
    halves = since + (past.steps - since) / 2
    places = np.maximum(np.searchsorted(past.steps, halves, "right") - 1, 0)
    gained = past.losses[places] - past.losses if len(past.losses) else past.losses
    stands = (past.steps - since >= FEWEST) & (np.abs(gained) < FLAT * past.losses) & (past.losses > floor)
    found = np.flatnonzero(stands)
    if not len(found):
        return None
    at = found[0]
    numbers = f"{_loss(past.losses[at])} now, {_loss(past.losses[places[at]])}"
    told = f"It hardly gets better any more: {numbers} at step {past.steps[places[at]]:,}."
    if base is not None:
        nowhere = past.losses[at] > base.unigram
        told += " The learning rate is too large, or far too small." if nowhere else " A larger model may get further."
    return Line(int(past.steps[at]), told)


def untrained(past: Past) -> Line | None:
    """The first loss, before anything was learnt."""
    base = past.subject.baselines
    evaluated, trained = (
        past.history.points_between(name, 0, min(1, past.step)) for name in ("val/loss", "train/loss")
    )
    first = evaluated if evaluated is not None and len(evaluated.steps) else trained
    if base is None or not base.uniform or first is None or not len(first.steps):
        return None
    loss = float(first.values[0])
    than = "worse than" if loss > base.uniform * WORSE else "as good as"
    return Line(0, f"Untrained it is {than} guessing: loss {_loss(loss)}, guessing {base.uniform:.3f}.")


RULES: Sequence[Callable[[Past], Line | None]] = (
    diverged,
    leapt,
    forgets,
    learns_by_heart,
    rungs,
    turned_rate,
    turned_knob,
    flat,
    untrained,
)


def _loss(loss: float) -> str:
    """A loss with two decimals, so that two of them can be compared by eye; a small or huge one by its digits."""
    return f"{loss:.2f}" if 0.1 <= loss < 1000 else format_number(loss, 3)


def _averaged(points: SeriesPoints | None) -> tuple[Steps, Values]:
    """Steps [n], and the average [n] of all losses in the window that ends at each of them.

    Points of a long run stand for several steps: their means, each weighted by its steps, make the average exact.
    """
    if points is None or not len(points.steps):
        return np.empty(0, np.int64), np.empty(0)
    steps = points.steps.astype(np.int64)
    held = np.diff(steps, prepend=steps[0] - 1)
    total = np.concatenate(([0.0], np.cumsum(points.means.astype(np.float64) * held)))
    counted = np.concatenate(([0], np.cumsum(held)))
    window = np.maximum(LEAST_WINDOW, np.ceil(WINDOW * steps))
    first = np.minimum(np.searchsorted(steps, steps - window, "right"), np.arange(len(steps)))
    return steps, (total[1:] - total[first]) / (counted[1:] - counted[first])
