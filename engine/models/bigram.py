"""The bigram model: one table; row i holds the scores of what follows token i.

It departs from the textbook in nothing but speed: no counting, the table is learnt by gradient descent.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import LanguageModel


class Bigram(LanguageModel):
    """An embedding table (C, C): the row of the last token is the answer."""

    def __init__(self, vocab_size: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.context = 1
        first = torch.empty(vocab_size, vocab_size).normal_(generator=generator)  # N(0, 1), as nn.Embedding does
        self.token_embedding = nn.Embedding(vocab_size, vocab_size, _weight=first)

    def logits(self, inputs: Tensor) -> Tensor:
        """Token ids (B, T) -> scores (B, T, C): a look-up, nothing else."""
        logits: Tensor = self.token_embedding(inputs)  # (B, T) -> (B, T, C)
        return logits
