"""Where an experiment begins, and how it keeps out of the room's way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from ...config import LiveSettings, OptimizerName, RunConfig, changed
from ...models import build
from ...presets import preset
from ...text.corpus import Corpus
from ...training.checkpoint import PausedState
from ...training.trainer import Trainer, replay

MOST_PARAMETERS = 100_000
"""A model up to this size can be run hundreds of times in a moment."""
SHORT = 8
"""Tokens in a window of a bigram, which looks at one at a time anyway; the measured settings have 8."""


@dataclass(frozen=True, eq=False)
class Start:
    """A model of text to try things on: at `moment`, where a run stands, or at its first weights (None)."""

    config: RunConfig
    settings: LiveSettings
    dataset: Corpus
    moment: PausedState | None = None

    @property
    def step(self) -> int:
        """Updates made so far; a step under way counts as made."""
        return self.moment.snapshot.step + (self.moment.stages > 0) if self.moment else 0

    def first(self) -> Start:
        """The same model at its first weights."""
        return replace(self, moment=None)

    def bigram(self) -> Start:
        """Itself if it is a bigram, else a fresh bigram on the same text; its windows are SHORT at most."""
        if self.config.model == "bigram":
            return replace(self, config=changed(self.config, block_size=min(SHORT, self.config.block_size)))
        start = preset("bigram")
        block_size = min(SHORT, self.config.block_size)
        config = changed(start.config, corpus=self.config.corpus, seed=self.config.seed, block_size=block_size)
        return Start(config, start.settings, self.dataset)

    def small(self) -> Start:
        """Itself if it is small enough to be run hundreds of times in a moment; else a fresh bigram on its text."""
        with torch.device("meta"):
            parameters = build(self.config, self.dataset.vocab_size).parameter_count()
        return self if parameters <= MOST_PARAMETERS else self.bigram()

    def trainer(self, optimizer: OptimizerName | None = None, **settings: Any) -> Trainer:
        """A throwaway trainer between two steps, with these settings; no two share a tensor or a generator.

        Another optimizer than the run's begins with an empty state.
        """
        config = changed(self.config, optimizer=optimizer or self.config.optimizer, eval_batches=1)
        turned = changed(self.settings, max_steps=10**9, speed="unlimited", **settings)
        if self.moment is None:
            return Trainer(config, turned, self.dataset, lambda _: None)
        moment = self.moment
        if config.optimizer != self.config.optimizer:
            moment = PausedState(replace(moment.snapshot, optimizer={}), moment.stages, moment.turns)
        trainer = replay(config, self.dataset, moment)
        if trainer.stages_done:
            trainer.advance()  # experiments count whole steps: finish the one under way
        trainer.tune(turned)
        return trainer

    def about(self) -> str:
        """Where it begins, in words; the title of a text is not ours, so show it literally."""
        model = "GPT" if self.config.model == "gpt" else "bigram"
        where = f"as it is after step {self.step:,}" if self.moment else "with its first weights"
        return f"a copy of the {model} on {self.dataset.title}, {where}"


class Pacer:
    """Progress, and room for the room's run: after each stretch of work, a rest while that run is running.

    busy: is the room's run running? tell: told the share done, 0 to 1, a few times a second; what it raises ends the
    experiment. rest: seconds of rest for each second of work.
    """

    STRETCH = 0.01
    EVERY = 0.1

    def __init__(
        self,
        busy: Callable[[], bool] = lambda: False,
        tell: Callable[[float], object] = lambda share: None,
        rest: float = 1.0,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._busy, self._tell, self._rest, self._clock, self._sleep = busy, tell, rest, clock, sleep
        self._total, self._done = 1, 0
        self._worked_from = self._told_at = clock()

    def expect(self, total: int) -> None:
        """How many beats there will be in all."""
        self._total, self._done = max(1, total), 0

    def beat(self) -> None:
        """One piece is done: perhaps tell, perhaps rest."""
        self._done += 1
        now = self._clock()
        worked = now - self._worked_from
        if worked < self.STRETCH:
            return
        if now - self._told_at > self.EVERY:
            self._told_at = now
            self._tell(min(1.0, self._done / self._total))
        if self._busy():
            self._sleep(worked * self._rest)
        self._worked_from = self._clock()
