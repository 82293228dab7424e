"""Where an experiment starts, and how it keeps from slowing down the run that people are watching."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from ...config import LiveSettings, OptimizerName, RunConfig, changed
from ...models import registry
from ...models.registry import build
from ...presets import preset
from ...text.corpus import Corpus
from ...training.checkpoint import PausedState
from ...training.state import replay
from ...training.trainer import Trainer

MOST_PARAMETERS = 100_000
"""A model up to this size can be trained for hundreds of steps in a moment."""
SHORT = 8
"""Tokens in a bigram's window. It reads one token at a time anyway; the effects were measured with 8."""


@dataclass(frozen=True, eq=False)
class Start:
    """A language model to experiment on: at `moment`, the present state of a run, or at its initial weights (None)."""

    config: RunConfig
    settings: LiveSettings
    dataset: Corpus
    moment: PausedState | None = None

    @property
    def step(self) -> int:
        """Updates made so far; a step in progress counts."""
        return self.moment.snapshot.step + (self.moment.stages > 0) if self.moment else 0

    def first(self) -> Start:
        """The same model at its initial weights."""
        return replace(self, moment=None)

    def bigram(self) -> Start:
        """This start if its model is a bigram, else a fresh bigram on its text; windows of at most SHORT tokens."""
        if "pairs" in registry.find(self.config.model).features:
            return replace(self, config=changed(self.config, block_size=min(SHORT, self.config.block_size)))
        start = preset("bigram")
        block_size = min(SHORT, self.config.block_size)
        config = changed(start.config, corpus=self.config.corpus, seed=self.config.seed, block_size=block_size)
        return Start(config, start.settings, self.dataset)

    def tiny_gpt(self) -> Start:
        """A fresh tiny GPT on the same text, its first weights drawn from the same seed, at a constant rate."""
        start = preset("gpt-tiny")
        shortest = min(len(split) for split in self.dataset.splits.values())
        config = changed(
            start.config,
            corpus=self.config.corpus,
            seed=self.config.seed,
            optimizer="adamw",
            decays="all",
            block_size=min(start.config.block_size, shortest - 1),
        )
        settings = changed(start.settings, schedule="constant", warmup_steps=0, grad_clip=None)
        return Start(config, settings, self.dataset)

    def with_rule(self, **rule: float) -> Start:
        """This start with other numbers of its optimizer: momentum, beta1, beta2, epsilon."""
        return replace(self, config=changed(self.config, **rule))

    def small(self) -> Start:
        """This start if its model has at most MOST_PARAMETERS, else a fresh bigram on the same text."""
        with torch.device("meta"):
            parameters = build(self.config, self.dataset.vocab_size).parameter_count()
        return self if parameters <= MOST_PARAMETERS else self.bigram()

    def trainer(self, optimizer: OptimizerName | None = None, **settings: Any) -> Trainer:
        """A throwaway trainer between two steps, with these settings; it shares no tensor or generator with any other.

        An optimizer other than the run's starts with an empty state.
        """
        own = {"optimizer": optimizer or self.config.optimizer, "attention": "written-out"}  # has second derivatives
        config = changed(self.config, **own, compile=False, eval_batches=1)
        usual = {
            "max_steps": 10**9,
            "speed": "unlimited",
            "schedule": "constant",
            "warmup_steps": 0,
            "micro_batches": 1,
        }
        turned = changed(self.settings, **(usual | settings))
        if self.moment is None:
            return Trainer(config, turned, self.dataset, lambda _: None)
        moment = self.moment
        if config.optimizer != self.config.optimizer:
            moment = PausedState(replace(moment.snapshot, optimizer={}), moment.stages, moment.turns)
        trainer = replay(config, self.dataset, moment)
        if trainer.stages_done:
            trainer.advance()  # experiments count whole steps, so finish the one in progress
        trainer.tune(turned)
        return trainer

    def about(self) -> str:
        """What the experiment runs on, in words. It contains the text's title, so show it literally."""
        model = registry.find(self.config.model).title
        where = f"as it is after step {self.step:,}" if self.moment else "with its first weights"
        return f"a copy of the {model} on {self.dataset.title}, {where}"


class Pacer:
    """Reports an experiment's progress, and pauses it regularly while the main run is training.

    busy: is the main run training? report: called with the share done, 0 to 1, a few times a second; an exception it
    raises ends the experiment. rest: seconds of pause for each second of work.
    """

    WORK_SECONDS = 0.01
    """How long to work between two pauses."""
    REPORT_SECONDS = 0.1

    def __init__(
        self,
        busy: Callable[[], bool] = lambda: False,
        report: Callable[[float], object] = lambda share: None,
        rest: float = 1.0,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._busy, self._report, self._rest, self._clock, self._sleep = busy, report, rest, clock, sleep
        self._total, self._done = 1, 0
        self._work_began = self._reported_at = clock()

    def expect(self, total: int) -> None:
        """Say how many calls of `advance` there will be."""
        self._total, self._done = max(1, total), 0

    def advance(self) -> None:
        """Count one piece of work as done; report and pause where it is time."""
        self._done += 1
        now = self._clock()
        worked = now - self._work_began
        if worked < self.WORK_SECONDS:
            return
        if now - self._reported_at > self.REPORT_SECONDS:
            self._reported_at = now
            self._report(min(1.0, self._done / self._total))
        if self._busy():
            self._sleep(worked * self._rest)
        self._work_began = self._clock()
