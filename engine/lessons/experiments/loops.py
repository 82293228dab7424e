"""Training loops to compare, built from the trainer's own stages in the usual or another order.

A `StageOrder` is a tuple of stages; a stage is any function of a trainer. `Trainer.observe` is left out: these loops
send no records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...models.base import LanguageModel
from ...text.bigram_counts import BigramCounts
from ...text.corpus import Corpus
from ...training.trainer import Trainer
from .start import Pacer

Stage = Callable[[Trainer], object]
StageOrder = tuple[Stage, ...]

USUAL_ORDER: StageOrder = (
    Trainer.batch,
    Trainer.forward,
    Trainer.loss_stage,
    Trainer.backward,
    Trainer.measure,
    Trainer.guard,
    Trainer.update,
    Trainer.reset,
)
POINTS = 120
"""Points in a curve, roughly."""


class FullTextLoss:
    """The exact loss of a bigram on the whole training split, computed from pair counts, as cheap as one batch."""

    def __init__(self, corpus: Corpus) -> None:
        frequencies = BigramCounts.of(corpus)
        assert frequencies is not None, "Start.bigram keeps the vocabulary small"
        self._frequencies = frequencies
        self.floor = frequencies.floor

    def loss(self, model: LanguageModel) -> float:
        """The mean loss of a bigram, nats per token."""
        return self.floor + self._frequencies.divergence(model.token_embedding.weight)


@dataclass
class LoopResult:
    """The losses of a loop: on the whole training split at some `steps`, and of the batch at every step."""

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    batch_losses: list[float] = field(default_factory=list)


def language_model(trainer: Trainer) -> LanguageModel:
    """The trainer's model, which must be a language model."""
    assert isinstance(trainer.model, LanguageModel)
    return trainer.model


def run_stages(trainer: Trainer, order: Sequence[Stage]) -> None:
    """Make one step: the stages of `order`, one after the other."""
    for stage in order:
        stage(trainer)


def run_loop(
    trainer: Trainer, text: FullTextLoss, steps: int, pacer: Pacer, order: StageOrder = USUAL_ORDER, every: int = 0
) -> LoopResult:
    """Make `steps` steps in this order; measure the loss on the whole text at the start and every `every` steps.

    Stops early when the guard finds a number that is not finite.
    """
    every = every or max(1, steps // POINTS)
    model, results = language_model(trainer), LoopResult()
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            results.steps.append(step)
            results.losses.append(text.loss(model))
        if step == steps or trainer.recorder.diverged:
            break
        run_stages(trainer, order)
        results.batch_losses.append(trainer.recorder.loss)
        pacer.advance()
    return results


def weights_of(trainer: Trainer) -> Tensor:
    """A copy of all weights as one vector."""
    return torch.cat([p.detach().reshape(-1) for p in trainer.parameters]).clone()


def max_weight_difference(one: Trainer, other: Trainer) -> float:
    """The largest absolute difference between two trainers' weights; 0 means equal bit for bit."""
    return float((weights_of(one) - weights_of(other)).abs().max())
