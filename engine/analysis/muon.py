"""One update of Muon taken apart, as a pure function of tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..training.optimizers import MUON_MOMENTUM, orthogonal


@dataclass(frozen=True, eq=False)
class MuonUpdate:
    """Every quantity of one update of a matrix (rows, columns); all tensors have its shape.

    `way` is the gradient mixed with its momentum, `direction` the same made orthogonal, `stretch` what a tall matrix is
    moved further by.
    """

    momentum: Tensor
    way: Tensor
    direction: Tensor
    stretch: float
    after: Tensor


def muon_update(
    weight: Tensor, gradient: Tensor, momentum: Tensor | None, lr: float, weight_decay: float
) -> MuonUpdate:
    """The update of `weight` with these, all float32 of one shape; momentum None before the first. `lr` is the
    matrix's own rate."""
    before = torch.zeros_like(weight) if momentum is None else momentum
    now = before.lerp(gradient, 1 - MUON_MOMENTUM)
    way = gradient.lerp(now, MUON_MOMENTUM)
    direction = orthogonal(way[None])[0]
    stretch = math.sqrt(max(1, weight.shape[0] / weight.shape[1]))
    after = weight * (1 - lr * weight_decay) - lr * stretch * direction
    return MuonUpdate(now, way, direction, stretch, after)
