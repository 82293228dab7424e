"""The guard: nothing that is not finite reaches the weights. It judges numbers and never touches data or screen.

A loss or gradient that is not finite: the update is withheld. An update that would make weights overflow although its
gradient is finite (an extreme learning rate): seen after the update, and the last finite weights come back. Of a loss
that is finite but far too high, `engine.training.loss_monitor` warns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Adam's step is at most (1 - β1) / sqrt((1 - β2) (1 - β1² / β2)) = 7.27 times lr for the default betas (the inequality
# of Cauchy and Schwarz; gradients that grow by β2 / β1 a step after a long silence come that far).
ADAM_REACH = 7.3
RISKY = 1e30


class WeightBound:
    """An upper bound on the largest |weight|, kept in plain Python, so that a sane run pays nothing for it.

    Only while the bound is above RISKY are copies made and weights checked.
    """

    def __init__(self, parameters: Sequence[Tensor], optimizer: str) -> None:
        self._parameters = parameters
        self._adam = optimizer == "adamw"
        self.bound = 0.0
        self.measure()

    def measure(self) -> None:
        """Take the bound from the weights as they are."""
        self.bound = max(float(p.detach().abs().max()) for p in self._parameters)

    def grow(self, lr: float, weight_decay: float, grad_norm: float) -> bool:
        """Allow for one update; True if weights could be near overflow after it.

        `grad_norm` may be inf where it is not known on the host (SGD on a GPU): then every update is checked.
        """
        decayed = self.bound * (abs(1 - lr * weight_decay) if self._adam else 1 + lr * weight_decay)
        self.bound = decayed + lr * (ADAM_REACH if self._adam else grad_norm)
        return not self.bound < RISKY


def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """A scalar bool tensor on the device of `tensors`: is every number in them finite?"""
    return torch.stack([torch.isfinite(t).all() for t in tensors]).all()
