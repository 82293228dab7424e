"""One logistic layer: weighted sums of the inputs, each a yes-or-no question, as in document 002 (5 inputs, 3 outputs).

Weights are drawn from N(0, 1). The loss is binary cross-entropy on the sums (logits), nats per output.

n  examples
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import FixedExamples, Heatmap, Model
from .registry import register


@register("logistic")
class Logistic(Model):
    """z = x·w + b with w (inputs, outputs) and b (outputs,); sigmoid(z) is the probability of yes."""

    title = "5→3 logistic layer"
    learns_from = "points"
    loss_unit = "nats per output"
    heatmap = Heatmap(
        "w",
        title="Weights",
        rows="input",
        columns="output",
        help=(
            "A row is one of the five inputs, a column one of the three outputs. All inputs are 1 here, so all rows "
            "of the gradient are equal: each weight of a column is to blame to the same degree."
        ),
    )
    code: ClassVar[Mapping[str, str]] = {
        "batch": "inputs, targets = torch.ones(1, 5), torch.zeros(1, 3)",
        "forward": "outputs = inputs @ model.w + model.b",
        "loss": "loss = F.binary_cross_entropy_with_logits(outputs, targets)",
    }

    def __init__(self, n_inputs: int = 5, n_outputs: int = 3, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.empty(n_inputs, n_outputs).normal_(generator=generator))
        self.b = nn.Parameter(torch.empty(n_outputs).normal_(generator=generator))

    @classmethod
    def build(cls, vocab_size: int, generator: torch.Generator | None, **settings: Any) -> Logistic:
        """The document's layer."""
        return cls(generator=generator)

    @classmethod
    def examples(cls) -> FixedExamples:
        """The document's one example: five ones, and three times no."""
        return FixedExamples("ones", "five ones, told to answer no", torch.ones(1, 5), torch.zeros(1, 3))

    def outputs(self, inputs: Tensor) -> Tensor:
        """x (n, inputs) -> z (n, outputs)."""
        return inputs @ self.w + self.b  # (n, inputs) @ (inputs, outputs) + (outputs,) -> (n, outputs)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean binary cross-entropy of z (n, outputs) against 0 or 1 (n, outputs)."""
        return F.binary_cross_entropy_with_logits(outputs, targets)

    def pointwise_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The binary cross-entropy of each output: (n, outputs)."""
        return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")

    def tables(self) -> dict[str, Tensor]:
        """The weights."""
        return {"w": self.w}
