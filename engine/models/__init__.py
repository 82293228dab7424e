"""The models. Every model is one file and has one face: `forward(inputs, targets) -> (logits, loss)`.

To add a model, write its file, build it here, and give `engine.config.ModelName` its name.
"""

from __future__ import annotations

import torch

from engine.config import RunConfig
from engine.models.base import LanguageModel
from engine.models.bigram import Bigram
from engine.models.gpt import GPT

__all__ = ["GPT", "Bigram", "LanguageModel", "build"]


def build(config: RunConfig, vocab_size: int, generator: torch.Generator | None = None) -> LanguageModel:
    """The model `config` asks for, on the CPU, its first weights drawn from `generator`."""
    if config.model == "bigram":
        return Bigram(vocab_size, generator=generator)
    return GPT(
        vocab_size,
        block_size=config.block_size,
        n_layer=config.n_layer,
        n_head=config.n_head,
        n_embd=config.n_embd,
        dropout=config.dropout,
        tie_weights=config.tie_weights,
        generator=generator,
    )
