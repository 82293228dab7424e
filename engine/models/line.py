"""A line, y = a·x + b: two weights, so that everything about their training can be drawn.

Both start at 0. The loss is the mean squared error, in squared units of y.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Model


class Line(Model):
    """Slope a and intercept b."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(()))
        self.b = nn.Parameter(torch.zeros(()))

    def outputs(self, inputs: Tensor) -> Tensor:
        """x (n, 1) -> y (n, 1)."""
        return self.a * inputs + self.b

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error of (n, 1) against (n, 1)."""
        return F.mse_loss(outputs, targets)

    def numbers(self) -> dict[str, Tensor]:
        """a and b."""
        return {"a": self.a, "b": self.b}
