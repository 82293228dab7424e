"""A sweep: many values of one knob, one bigram for each, and the loss against the knob as it forms.

It touches no run, and each of its points can be started as one: the same settings, seed and batches.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch

from ..config import MOST_SHOWN, LiveSettings, RunConfig, changed
from ..errors import InputError
from ..progress import Job, Jobs, Report, unheard
from ..text.corpus import SPLITS, Corpus
from .bigram_lanes import MOST_LANES, BigramLanes, PairLoss, check_lanes

Knob = Literal["lr", "weight_decay"]
KNOBS: tuple[Knob, ...] = get_args(Knob)
LOOKS = 40
"""Moments of a sweep at which its losses are measured, about evenly spaced."""


class Point(NamedTuple):
    """A value of the knob and the loss that it came to, nats per token; nan where it diverged."""

    value: float
    loss: float
    diverged_at: int | None
    """The step that it did not get through."""


class Moment(NamedTuple):
    """The losses of all values after so many steps, in the order of the values; nan where one has diverged."""

    step: int
    losses: tuple[float, ...]
    diverged_at: tuple[int | None, ...]


@dataclass(frozen=True)
class Sweep:
    """What is tried: a run of `config` and `settings` for each of the `values` of `knob`; `max_steps` steps each."""

    config: RunConfig
    settings: LiveSettings
    knob: Knob
    values: tuple[float, ...]

    @classmethod
    def of(cls, config: RunConfig, settings: LiveSettings, knob: Knob, values: Sequence[float]) -> Sweep:
        """A sweep over different `values`, ascending; what was named twice is trained once.

        InputError for a value that the knob cannot have, for none, and for more than MOST_LANES.
        """
        sweep = cls(config, settings, knob, tuple(sorted({float(value) for value in values})))
        if not 1 <= len(sweep.values) <= MOST_LANES:
            raise InputError(f"{len(sweep.values)} different values are not possible; choose 1 to {MOST_LANES}")
        sweep.lanes()
        return sweep

    def lanes(self) -> list[LiveSettings]:
        """The settings of the run behind each value; InputError for one that is not possible."""
        return [changed(self.settings, **{self.knob: value}) for value in self.values]


class RunningSweep:
    """A sweep in training, in a thread of its own: `moments` grows as it goes on, `job` says how far it is.

    busy: is somebody training a run? Then half of the time is left to that.
    """

    def __init__(self, sweep: Sweep, corpus: Corpus, busy: Callable[[], bool] = lambda: False) -> None:
        """InputError where the model or the text does not suit (`check_lanes`)."""
        check_lanes(sweep.config, corpus.vocab_size, len(sweep.values))
        corpus.check(sweep.config)
        self.sweep, self.corpus = sweep, corpus
        self.split = "val" if len(corpus.val) > 1 else "train"
        """Where its losses are measured, exactly, over the whole split."""
        self.moments: list[Moment] = []
        self.job: Job[None] | None = None
        self._busy = busy

    def begin(self, jobs: Jobs) -> RunningSweep:
        """Start; `jobs` can end it early."""
        self.job = jobs.joined(self, self.train)
        return self

    def train(self, report: Report = unheard) -> None:
        """Make all steps in the caller's thread; `report` is told how far it is, and what it raises ends it."""
        torch.set_num_threads(1)  # of this thread: the other cores belong to the run and the server
        lanes = BigramLanes(self.sweep.config, self.sweep.lanes(), self.corpus)
        measure = PairLoss(self.corpus.splits[self.split], self.corpus.vocab_size)
        steps = self.sweep.settings.max_steps
        looks = {round(steps * look / LOOKS) for look in range(LOOKS + 1)}
        what = f"training {len(self.sweep.values)} tables"
        while True:
            began = time.perf_counter()
            if lanes.step in looks:
                self._look(lanes, measure)
            report(what, lanes.step, steps)
            if lanes.step == steps:
                return
            lanes.advance()
            if self._busy():
                time.sleep(time.perf_counter() - began)

    def _look(self, lanes: BigramLanes, measure: PairLoss) -> None:
        losses = measure.of(lanes.tables).tolist()
        shown = (math.nan if at else loss for loss, at in zip(losses, lanes.diverged_at, strict=True))
        self.moments.append(Moment(lanes.step, tuple(shown), tuple(lanes.diverged_at)))

    @property
    def step(self) -> int:
        """The step of the newest moment."""
        return self.moments[-1].step if self.moments else 0

    @property
    def done(self) -> bool:
        """Has it made all of its steps?"""
        return self.step == self.sweep.settings.max_steps

    @property
    def where(self) -> str:
        """Where its losses are measured, in words: "validation"."""
        return SPLITS[self.split]

    def points(self) -> list[Point]:
        """Each value with its newest loss, by ascending value; none before the first look."""
        if not self.moments:
            return []
        _, losses, diverged_at = self.moments[-1]
        return [Point(*one) for one in zip(self.sweep.values, losses, diverged_at, strict=True)]


def best_point(points: Sequence[Point]) -> Point | None:
    """The one with the lowest loss; None where all have diverged."""
    return min((point for point in points if point.diverged_at is None), key=lambda one: one.loss, default=None)


def read_values(text: str) -> list[float]:
    """The numbers in "0.001, 0.01 0.3"; InputError names a word that is none."""
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    if not words:
        raise InputError("there is no value yet; write numbers with commas between them, such as 0.001, 0.01, 0.3")
    values = []
    for word in words:
        try:
            values.append(float(word))
        except ValueError:
            raise InputError(f"{word[:MOST_SHOWN]!r} is not a number; write them such as 0.001, 0.01, 0.3") from None
    return values


def spaced_values(low: float, high: float, count: int) -> list[float]:
    """`count` values from `low` to `high`, each the same multiple of the one before, to three digits.

    InputError unless 0 < low < high and 2 <= count <= MOST_LANES.
    """
    if not 0 < low < high < math.inf:
        raise InputError(f"a range from {low:g} to {high:g} is not possible; choose 0 < from < to")
    if not 2 <= count <= MOST_LANES:
        raise InputError(f"{count} values are not possible; choose 2 to {MOST_LANES}")
    return [float(f"{low * (high / low) ** (place / (count - 1)):.3g}") for place in range(count)]
