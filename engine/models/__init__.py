"""The models. Every model is one file and has one face: `forward(inputs, targets) -> (outputs, loss)`.

To add a model, write its file, build it here, and give `engine.config.ModelName` its name.
"""

from __future__ import annotations

import torch

from ..config import RunConfig
from .base import LanguageModel, Model
from .bigram import Bigram
from .gpt import GPT
from .line import Line
from .logistic import Logistic

__all__ = ["GPT", "Bigram", "LanguageModel", "Line", "Logistic", "Model", "build", "build_language_model"]


def build(config: RunConfig, vocab_size: int, generator: torch.Generator | None = None) -> Model:
    """The model `config` asks for, on the CPU, its first weights drawn from `generator`.

    `vocab_size` is for the models of text; the small ones know their own shape.
    """
    if config.model == "line":
        return Line()
    if config.model == "logistic":
        return Logistic(generator=generator)
    return build_language_model(config, vocab_size, generator)


def build_language_model(config: RunConfig, vocab_size: int, generator: torch.Generator | None = None) -> LanguageModel:
    """A model of text."""
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
