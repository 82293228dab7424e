"""The guard: nothing that is not finite reaches the weights. It judges numbers and never touches data or screen.

Four dangers, four answers. A loss or gradient that is not finite: the update is withheld. An update that would
make weights overflow although its gradient is finite (an extreme learning rate): seen after the update, and the
last finite weights come back. A loss that is finite but absurd for a while, and one that leaps far above those
before it: warnings that say what to do.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor

# Adam's step is at most (1 - β1) / sqrt((1 - β2) (1 - β1² / β2)) = 7.27 times lr for the default betas (the inequality
# of Cauchy and Schwarz; gradients that grow by β2 / β1 a step after a long silence come that far).
ADAM_REACH = 7.3
RISKY = 1e30
HIGH_STEPS = 50
RECENT = 100  # losses behind the median
FEWEST = 20
LEAP = 3.0


class Headroom:
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


class HighLossDetector:
    """Notices a loss above `limit`, finite, for HIGH_STEPS steps in a row; 10·ln V for a model of text."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.high = 0
        """Steps in a row above the limit, up to now."""

    def hear(self, loss: float) -> bool | None:
        """True when the alarm begins, False when it ends, None else."""
        if loss > self.limit:
            self.high += 1
            return True if self.high == HIGH_STEPS else None
        ended = self.high >= HIGH_STEPS
        self.high = 0
        return False if ended else None


class SpikeDetector:
    """Notices a finite loss LEAP times above the median of the recent ones, which is taken anew at each look.

    `recent` is filled by whoever makes the steps; a loss above `limit` is for `hear`.
    """

    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.median = self.limit = math.inf
        self._last: int | None = None

    def hear(self, step: int, loss: float) -> bool:
        """Is this the first leap for a while? One that is not finite is the guard's."""
        if not self.limit < loss < math.inf:
            return False
        first, self._last = self._last is None, step
        return first

    def look(self, step: int) -> bool:
        """Take the median anew; True where leaps were heard and none came for RECENT steps."""
        losses = [loss for loss in self.recent if math.isfinite(loss)]
        if len(losses) >= FEWEST:
            self.median = median(losses)
            self.limit = LEAP * self.median if self.median > 0 else math.inf
        if self._last is None or step - self._last <= RECENT:
            return False
        self._last = None
        return True


def all_finite(tensors: Sequence[Tensor]) -> Tensor:
    """A scalar bool tensor on the device of `tensors`: is every number in them finite?"""
    return torch.stack([torch.isfinite(t).all() for t in tensors]).all()
