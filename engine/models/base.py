"""What all models here share: the face that the trainer relies on; and what language models share besides.

Shape letters: B windows in a batch, T tokens in a window, C = vocab_size scores per token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Model(nn.Module):
    """Anything that trains here: outputs from inputs, and a loss that compares them with targets."""

    def outputs(self, inputs: Tensor) -> Tensor:
        """What the model says about `inputs`; the batch is the first dimension of both."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """How wrong `outputs` are, a scalar tensor."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Inputs, and what is right for them -> outputs, and the loss."""
        outputs = self.outputs(inputs)
        return outputs, None if targets is None else self.loss(outputs, targets)

    def tables(self) -> dict[str, Tensor]:
        """The parameters (rows, cols) that are shown as heatmaps while training, by name."""
        return {}

    def numbers(self) -> dict[str, Tensor]:
        """The parameters of one number that are shown as curves while training, by name."""
        return {}

    def load_weights(self, weights: Mapping[str, Tensor]) -> Self:
        """Copy `weights` in, by parameter name, from any device; returns the model itself."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(weights[name])
        return self

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


class LanguageModel(Model):
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

    def outputs(self, inputs: Tensor) -> Tensor:
        """Token ids (B, T) -> logits (B, T, C)."""
        return self.logits(inputs)

    def tables(self) -> dict[str, Tensor]:
        """The token embedding: one row per token."""
        return {"token_embedding": self.token_embedding.weight}


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
