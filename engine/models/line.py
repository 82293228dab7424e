"""A line, y = a·x + b: two weights, so that everything about their training can be drawn.

Both start at 0. The loss is the mean squared error, in squared units of y.

n  points
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Model
from .registry import register


@register("line")
class Line(Model):
    """Slope a and intercept b."""

    title = "line"
    learns_from = "points"
    loss_unit = "squared units of y"
    settings = ("points",)
    features = frozenset({"plane"})
    code: ClassVar[Mapping[str, str]] = {
        "batch": "inputs, targets = points  # all of them, in every step",
        "forward": "outputs = model.a * inputs + model.b",
        "loss": "loss = F.mse_loss(outputs, targets)",
    }

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(()))
        self.b = nn.Parameter(torch.zeros(()))

    @classmethod
    def build(cls, vocab_size: int, generator: torch.Generator | None, **settings: Any) -> Line:
        """A line that starts at 0, whatever its points are."""
        return cls()

    def outputs(self, inputs: Tensor) -> Tensor:
        """x (n, 1) -> y (n, 1)."""
        return self.a * inputs + self.b  # (n, 1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error of (n, 1) against (n, 1)."""
        return F.mse_loss(outputs, targets)

    def pointwise_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The squared error of each point: (n, 1)."""
        return F.mse_loss(outputs, targets, reduction="none")

    def scalars(self) -> dict[str, Tensor]:
        """a and b."""
        return {"a": self.a, "b": self.b}
