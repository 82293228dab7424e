"""Losses on text that is not being trained on: quick estimates on fixed batches, and exact means over a split.

Always `eval()` and without gradients; touches no generator of the training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..models.base import LanguageModel
from ..progress import Report, unheard
from ..text.corpus import windows
from .sampling import evaluating

Batch = tuple[Tensor, Tensor]


@dataclass
class Lowest:
    """The lowest validation loss of a run so far, its step, and the looks on the cadence since then.

    `weights` are a copy of those that had it, where somebody will ask for them.
    """

    loss: float = math.inf
    step: int = 0
    looks: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def note(self, loss: float, step: int, counts: bool) -> bool:
        """Take note of another validation loss; is it the lowest? One that does not count is no look."""
        if loss < self.loss:
            self.loss, self.step, self.looks = loss, step, 0
            return True
        self.looks += counts
        return False

    @property
    def told(self) -> str:
        """Why a run ends that has waited long enough."""
        return (
            f"no lower validation loss in {self.looks:,} {'look' if self.looks == 1 else 'looks'}; "
            f"the lowest was {self.loss:.4f} at step {self.step:,}"
        )


def mean_loss(model: LanguageModel, batches: Sequence[Batch]) -> float:
    """Mean loss over batches of equal size, nats per token."""
    with evaluating(model):
        losses = [model(inputs, targets)[1] for inputs, targets in batches]
    return sum(float(loss) for loss in losses) / len(losses)


def split_loss(model: LanguageModel, data: Tensor, block_size: int, report: Report = unheard) -> float:
    """Exact mean loss over `data` [n]: windows of block_size side by side, each target once, float64 sum.

    `report` is told how many targets are done; what it raises ends it.
    """
    total, count = 0.0, 0
    device = model.device
    with evaluating(model):
        for inputs, targets in windows(data, block_size):
            report("evaluating", count, len(data) - 1)
            loss = model(inputs.to(device), targets.to(device))[1]
            total += float(loss) * targets.numel()
            count += targets.numel()
    return total / count
