"""The rules that turn gradients into an update."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..config import LiveSettings, OptimizerName
from ..models.base import Model


def make_optimizer(name: OptimizerName, model: Model, settings: LiveSettings) -> torch.optim.Optimizer:
    """AdamW or plain SGD over all parameters, one group, fused into one kernel."""
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    return kinds[name](model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
