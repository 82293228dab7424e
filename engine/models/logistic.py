"""One logistic layer: weighted sums of the inputs, each a yes-or-no question, as in document 002 (5 inputs, 3 outputs).

Weights are drawn from N(0, 1). The loss is binary cross-entropy on the sums (logits), nats per output.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Model


class Logistic(Model):
    """z = x·w + b with w (inputs, outputs) and b (outputs,); sigmoid(z) is the probability of yes."""

    def __init__(self, n_inputs: int = 5, n_outputs: int = 3, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.empty(n_inputs, n_outputs).normal_(generator=generator))
        self.b = nn.Parameter(torch.empty(n_outputs).normal_(generator=generator))

    def outputs(self, inputs: Tensor) -> Tensor:
        """x (n, inputs) -> z (n, outputs)."""
        return inputs @ self.w + self.b

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean binary cross-entropy of z (n, outputs) against 0 or 1 (n, outputs)."""
        return F.binary_cross_entropy_with_logits(outputs, targets)

    def tables(self) -> dict[str, Tensor]:
        """The weights."""
        return {"w": self.w}
