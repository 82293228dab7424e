"""The guard: nothing that is not finite reaches the weights. It judges numbers and never touches data or screen.

A loss or gradient that is not finite: the update is withheld. An update that would make weights overflow although its
gradient is finite (an extreme learning rate): seen after the update, and the last finite weights come back. Of a loss
that is finite but far too high, `engine.training.loss_monitor` warns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import RunConfig

RISKY = 1e30
MUON_REACH = 1.5
"""No number of an orthogonal matrix is above 1; the iteration brings singular values to at most 1.3."""


def adam_reach(beta1: float, beta2: float) -> float:
    """The longest step of Adam in units of lr: (1 - β1) / sqrt((1 - β2) (1 - β1² / β2)), 7.27 for the default betas.

    By the inequality of Cauchy and Schwarz; gradients that grow by β2 / β1 a step after a long silence come that far.
    inf where β1² >= β2, since then nothing bounds it.
    """
    if beta1**2 >= beta2:
        return math.inf
    return (1 - beta1) / math.sqrt((1 - beta2) * (1 - beta1**2 / beta2))


class WeightBound:
    """An upper bound on the largest |weight|, kept in plain Python, so that a sane run pays nothing for it.

    Only while the bound is above RISKY are copies made and weights checked.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, config: RunConfig) -> None:
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._states = optimizer.state
        self._decoupled = config.optimizer != "sgd"
        self._reach = adam_reach(config.beta1, config.beta2) + 0.1
        self._decay = 1.0
        if config.optimizer == "muon":
            tallest = max((len(p) / p[0].numel() for p in self._parameters if p.dim() == 2), default=1.0)
            self._reach = max(self._reach, config.muon_scale * MUON_REACH * math.sqrt(max(1.0, tallest)))
            self._decay = config.muon_scale
        self._momentum = config.momentum if config.optimizer == "sgd" else 0.0
        self._velocity = 0.0
        self.bound = 0.0
        self.measure()

    def measure(self) -> None:
        """Take the bound from the weights as they are."""
        self.bound = max(float(p.detach().abs().max()) for p in self._parameters)
        if self._momentum:
            kept = [state["momentum_buffer"] for state in self._states.values() if "momentum_buffer" in state]
            self._velocity = max((float(one.abs().max()) for one in kept), default=0.0)

    def grow(self, lr: float, weight_decay: float, grad_norm: float) -> bool:
        """Allow for one update; True if weights could be near overflow after it.

        `grad_norm` may be inf where it is not known on the host (SGD on a GPU): then every update is checked.
        """
        if self._decoupled:
            shrunk = max(abs(1 - lr * weight_decay), abs(1 - self._decay * lr * weight_decay))
            self.bound = shrunk * self.bound + lr * self._reach
        elif self._momentum:
            self._velocity = self._momentum * self._velocity + grad_norm + weight_decay * self.bound
            self.bound += lr * self._velocity
        else:
            self.bound = self.bound * (1 + lr * weight_decay) + lr * grad_norm
        return not self.bound < RISKY


def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """A scalar bool tensor on the device of `tensors`: is every number in them finite?"""
    return torch.stack([torch.isfinite(t).all() for t in tensors]).all()
