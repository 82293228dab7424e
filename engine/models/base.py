"""What all language models here share: the loss, and the face that the trainer and the sampler rely on.

Shape letters: B windows in a batch, T tokens in a window, C = vocab_size scores per token.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LanguageModel(nn.Module):
    """Scores the next token at every position."""

    context: int
    """How many of the last tokens change the prediction."""

    token_embedding: nn.Embedding
    """One row per token of the vocabulary."""

    def logits(self, inputs: Tensor) -> Tensor:
        """Token ids (B, T) -> scores (B, T, C)."""
        raise NotImplementedError

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of logits (B, T, C) against ids (B, T), nats per token."""
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))  # (B·T, C) and (B·T,)

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Token ids (B, T), and the right next ids (B, T) -> logits (B, T, C), and the loss."""
        logits = self.logits(inputs)
        return logits, None if targets is None else self.loss(logits, targets)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The trainable parameters by layer, in the order of the forward pass; each parameter once."""
        parts: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            words = name.split(".")
            layer = ".".join(words[:2]) if words[0] == "blocks" else words[0]
            parts.setdefault(layer.replace("blocks.", "block_"), []).append(parameter)
        return parts

    def parameter_count(self) -> int:
        """How many trainable numbers the model holds."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


class Dropout(nn.Module):
    """Inverted dropout that draws from its own generator.

    `nn.Dropout` draws from the process-wide generator, which any other thread may move; then two runs with one
    seed would differ. `generator` stands on the device of the activations; the trainer sets it.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        if not self.training or self.p == 0:
            return x
        keep = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
        return x * keep / (1 - self.p)
