"""A loss split into the losses of the positions that it is the mean of.

Shapes: outputs and targets as the models have them; for a language model B windows, T tokens, C logits.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.base import LanguageModel, Model

_LEVELS, _LEAST_POWER = 8, 4


def target_probabilities(logits: Tensor, targets: Tensor) -> Tensor:
    """The probability of the right token at each position: (B, T, C) and (B, T) -> (B, T)."""
    return F.softmax(logits, dim=-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def mean_like_cross_entropy(losses: Tensor) -> float:
    """The mean of float32 `losses`, added up in the order in which torch's cross-entropy adds them on the CPU.

    Floating-point sums depend on their order. torch keeps partial sums, carried over every 16 numbers
    (aten/src/ATen/native/LossNLL.cpp), and so does this.
    """
    flat = losses.detach().reshape(-1).to("cpu", torch.float32).numpy()
    power = max(_LEAST_POWER, (len(flat) - 1).bit_length() // _LEVELS)
    sums = np.zeros(_LEVELS, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # absurd losses overflow here, as they do in torch
        for place, loss in enumerate(flat):
            sums[0] += loss
            for level in range(_LEVELS - 1):
                if place & (((1 << power) - 1) << (level * power)):
                    break
                sums[level + 1] += sums[level]
                sums[level] = 0
        total = np.cumsum(sums)[-1]  # one after the other, as torch does
    return float(total / np.float32(len(flat)))


def added_as_torch_does(model: Model, losses: Tensor) -> float:
    """The mean of a model's pointwise losses, in the order of the loss function that it uses."""
    return mean_like_cross_entropy(losses) if isinstance(model, LanguageModel) else float(losses.detach().mean())
