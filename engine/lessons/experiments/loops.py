"""Training loops to compare: the trainer's own stages, in the usual order or another, and what a loss is measured on.

An order is a tuple of stages; a stage is anything that does something to a trainer. `Trainer.observe` is left out:
nothing is emitted here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...models import LanguageModel
from ...text.bigram_counts import Frequencies
from ...text.corpus import Corpus
from ...training.trainer import Trainer
from .start import Pacer

Stage = Callable[[Trainer], object]
StageOrder = tuple[Stage, ...]

USUAL: StageOrder = (
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
"""Points a curve gets."""


class WholeText:
    """The exact loss of a bigram on the whole training split, from counts, so that it costs no more than a batch."""

    def __init__(self, corpus: Corpus) -> None:
        frequencies = Frequencies.of(corpus)
        assert frequencies is not None, "Start.bigram sees to it that the vocabulary is small"
        self._frequencies = frequencies
        self.floor = frequencies.floor

    def loss(self, model: LanguageModel) -> float:
        """Mean loss, nats per token; only for a bigram."""
        return self.floor + self._frequencies.divergence(model.token_embedding.weight)


@dataclass
class Learnt:
    """What a loop did: the loss on the whole training split at some steps, and each batch's loss at every step."""

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    batch_losses: list[float] = field(default_factory=list)


def language_model(trainer: Trainer) -> LanguageModel:
    """The trainer's model, which is one of text."""
    assert isinstance(trainer.model, LanguageModel)
    return trainer.model


def walk(trainer: Trainer, order: Sequence[Stage]) -> None:
    """One step: the stages of `order`, one after the other."""
    for stage in order:
        stage(trainer)


def learn(
    trainer: Trainer, text: WholeText, steps: int, courtesy: Pacer, order: StageOrder = USUAL, every: int = 0
) -> Learnt:
    """Make `steps` steps in this order, looking at the whole text at the beginning and after each `every` of them.

    Ends early where the guard sees a number that is not finite.
    """
    every = every or max(1, steps // POINTS)
    model, learnt = language_model(trainer), Learnt()
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            learnt.steps.append(step)
            learnt.losses.append(text.loss(model))
        if step == steps or trainer.recorder.diverged:
            break
        walk(trainer, order)
        learnt.batch_losses.append(trainer.recorder.loss)
        courtesy.beat()
    return learnt


def weights_of(trainer: Trainer) -> Tensor:
    """All weights in one row, a copy."""
    return torch.cat([p.detach().reshape(-1) for p in trainer.parameters]).clone()


def apart(one: Trainer, other: Trainer) -> float:
    """The largest difference between two trainers' weights; 0 means equal to the last bit."""
    return float((weights_of(one) - weights_of(other)).abs().max())
