"""Losses on text that is not being trained on: quick estimates on fixed batches, and exact means over a split.

Always `eval()` and without gradients; touches no generator of the training.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..models.base import LanguageModel
from ..progress import Report, unheard
from ..text.corpus import windows
from .sampling import evaluating

Batch = tuple[Tensor, Tensor]


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
