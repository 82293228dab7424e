"""One update of AdamW taken apart, and what plain SGD would have done, as pure functions of tensors.

Every quantity is computed in float32, in the order of torch's fused kernel for the CPU
(aten/src/ATen/native/cpu/FusedAdamKernel.cpp), so that it agrees with the real update bit for bit. The kernel
takes 16 numbers at once; the rest at a tensor's end it rounds differently, at most one float32 apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPS = 1e-8


@dataclass(frozen=True, eq=False)
class AdamWUpdate:
    """Every quantity of one AdamW update; tensors have the weight's shape, the rest are numbers.

    `decayed` is the weight after weight decay alone, `denominator` is the square root of the corrected second moment
    plus epsilon, and `number` counts the updates from 1.
    """

    gradient: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    correction: float
    correction_sq: float
    decayed: Tensor
    denominator: Tensor
    after: Tensor
    weight: Tensor
    number: int

    @property
    def mean(self) -> Tensor:
        """The bias-corrected first moment: the running mean of the gradient."""
        return self.exp_avg / self.correction

    @property
    def change(self) -> Tensor:
        """Δw, as the difference of two float32 weights."""
        return self.after - self.weight


def adamw_update(
    weight: Tensor,
    gradient: Tensor,
    exp_avg: Tensor | None,
    exp_avg_sq: Tensor | None,
    number: int,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float] = BETAS,
    epsilon: float = EPS,
) -> AdamWUpdate:
    """Update number `number` (from 1) of `weight`; all tensors float32 of one shape, moments None before the first."""
    beta, beta_sq = betas
    before = torch.zeros_like(weight) if exp_avg is None else exp_avg
    before_sq = torch.zeros_like(weight) if exp_avg_sq is None else exp_avg_sq
    correction, correction_sq = 1 - beta**number, 1 - beta_sq**number
    decayed = weight * _single(1 - lr * weight_decay) if weight_decay else weight.clone()
    first = _fused(_single(1 - beta), gradient - before, before)
    second = _fused(_single(1 - beta_sq) * gradient, gradient, before_sq * _single(beta_sq))
    root = second.double().sqrt().float()  # torch's own root of float32 is not always the nearest number
    denominator = root / _single(correction_sq**0.5) + _single(epsilon)
    after = decayed + _single(-(lr / correction)) * first / denominator
    return AdamWUpdate(
        gradient, first, second, correction, correction_sq, decayed, denominator, after, weight=weight, number=number
    )


def sgd_update(
    weight: Tensor,
    gradient: Tensor,
    lr: float,
    weight_decay: float,
    momentum: float = 0.0,
    velocity: Tensor | None = None,
) -> Tensor:
    """The weight after an update of SGD: weight - lr · v, float32; v is gradient + weight_decay · weight, and with
    momentum that plus momentum · the last v (`velocity`, None before the first update)."""
    slope = _fused(_single(weight_decay), weight, gradient) if weight_decay else gradient
    if momentum and velocity is not None:
        slope = _fused(_single(momentum), velocity, slope)
    return _fused(_single(-lr), slope, weight)


def ulps(one: Tensor, other: Tensor) -> Tensor:
    """How many float32 numbers apart two tensors are, cell by cell; int64, 0 where they are the same."""
    return (_rank(one) - _rank(other)).abs()


def _rank(tensor: Tensor) -> Tensor:
    """The rank of each float32 number among all float32 numbers, in order of size."""
    bits = tensor.detach().contiguous().view(torch.int32).long()
    return torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _single(number: float) -> Tensor:
    """A number in float32, as the kernel holds it."""
    return torch.tensor(number, dtype=torch.float32)


def _fused(one: Tensor, other: Tensor, added: Tensor) -> Tensor:
    """one · other + added, rounded once, as a fused multiply-add does it."""
    return (one.double() * other.double() + added.double()).float()
