"""The bigram model: one table; row i holds the scores of what follows token i.

It departs from the textbook in nothing but speed: no counting, the table is learnt by gradient descent.

B  windows in a batch
T  tokens in a window
C  vocab_size: scores per token
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import Heatmap, LanguageModel
from .registry import register


@register("bigram")
class Bigram(LanguageModel):
    """An embedding table (C, C): the row of the last token is the answer."""

    title = "bigram"
    features = frozenset({"embedding", "pairs"})
    heatmap = Heatmap(
        "token_embedding",
        title="Embedding",
        rows="token",
        columns="next token",
        help=(
            "A row is the current token, a column the token that may follow, a cell the score (logit) of that pair; "
            "softmax turns a row into probabilities that sum to 1. Healthy: noise at first, then a pattern, soonest "
            "in the rows of frequent tokens, which get a gradient in almost every batch."
        ),
        tokens="xy",
        softmax=True,
    )

    def __init__(self, vocab_size: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.context = 1
        first = torch.empty(vocab_size, vocab_size).normal_(generator=generator)  # N(0, 1), as nn.Embedding does
        self.token_embedding = nn.Embedding(vocab_size, vocab_size, _weight=first)

    def logits(self, inputs: Tensor) -> Tensor:
        """Token ids (B, T) -> scores (B, T, C): a look-up, nothing else."""
        logits: Tensor = self.token_embedding(inputs)  # (B, T) -> (B, T, C)
        return logits
