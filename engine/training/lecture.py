"""How the well-known lecture begins: a batch, a model and a sample, all drawn from one generator in its order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import RunConfig
from ..models.base import LanguageModel
from ..models.registry import build_language_model
from ..stream.messages import Sample
from ..text.corpus import Batcher, Corpus, spare_windows
from .evaluation import mean_loss
from .sampling import generate, sample_record

OPENING_ROWS = 4


@dataclass(frozen=True, eq=False)
class Opening:
    """What the lecture shows before it trains: a batch of OPENING_ROWS windows, the model's loss on it, a sample."""

    model: LanguageModel
    inputs: Tensor
    """(OPENING_ROWS, T)"""
    loss: float
    sample: Sample


def lecture_opening(config: RunConfig, corpus: Corpus, draws: torch.Generator) -> Opening:
    """Follow the lecture's draws from one generator, seeded twice; training goes on with `draws` where this ends."""
    batcher = Batcher(corpus.train, config.block_size, draws, spare_windows(config))
    inputs, targets = batcher.draw(OPENING_ROWS)
    draws.manual_seed(config.seed)
    model = build_language_model(config, corpus.vocab_size, draws)
    loss = mean_loss(model, [(inputs, targets)])
    made = generate(model, [0], config.sample_tokens, draws)
    return Opening(model, inputs, loss, sample_record(corpus.tokenizer, 0, [0], made))
