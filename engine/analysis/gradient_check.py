"""Analytic gradients compared with finite differences, on a copy of the model in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..config import RunConfig
from ..models.base import Model
from ..models.registry import build

NUDGE = 1e-4
SHORTEST, LONGEST = 1 / 64, 8.0


class Slope(NamedTuple):
    """The slope of the loss in one weight, in float64: by autograd, and by nudging the weight down and up.

    below, above: the loss at the weight nudged down and up.
    """

    analytic: float
    numeric: float
    below: float
    above: float

    @property
    def relative_error(self) -> float:
        """Their difference as a share of the larger one; 0 where both are 0."""
        larger = max(abs(self.analytic), abs(self.numeric))
        return abs(self.analytic - self.numeric) / larger if larger else 0.0


def float64_copy(config: RunConfig, vocab_size: int, weights: Mapping[str, Tensor]) -> Model:
    """A copy of a run's model in float64 with `weights`, in eval mode, so that no dropout is drawn."""
    model = build(config, vocab_size).double().eval()
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)
    return model


def to_float64(tensor: Tensor) -> Tensor:
    """`tensor` in float64; token ids stay integers."""
    return tensor.double() if tensor.is_floating_point() else tensor


def slope_at(
    model: Model, inputs: Tensor, targets: Tensor, name: str, index: Sequence[int], nudge: float = NUDGE
) -> Slope:
    """The slope of `model`'s loss in its parameter `name` at `index`: autograd's, and (L(w+h) - L(w-h)) / 2h."""
    parameter = dict(model.named_parameters())[name]
    loss = model.loss(model.outputs(inputs), targets)
    (gradient,) = torch.autograd.grad(loss, parameter)
    below, above = losses_along(model, inputs, targets, name, index, (-nudge, nudge))
    return Slope(float(gradient[tuple(index)]), (above - below) / (2 * nudge), below, above)


def losses_along(
    model: Model, inputs: Tensor, targets: Tensor, name: str, index: Sequence[int], offsets: Sequence[float]
) -> list[float]:
    """The loss with one weight moved by each of `offsets` and all others fixed; the weight is restored."""
    parameter, place = dict(model.named_parameters())[name], tuple(index)
    losses = []
    with torch.no_grad():
        kept = parameter[place].clone()
        for offset in offsets:
            parameter[place] = kept + offset
            losses.append(float(model.loss(model.outputs(inputs), targets)))
        parameter[place] = kept
    return losses


def visible_distance(
    model: Model, inputs: Tensor, targets: Tensor, name: str, index: Sequence[int], gradient: float
) -> float:
    """How far to move one weight until the loss visibly leaves its tangent: by a fifth of the tangent's change."""
    here = losses_along(model, inputs, targets, name, index, (0.0,))[0]
    distance = SHORTEST
    while distance < LONGEST:
        there = losses_along(model, inputs, targets, name, index, (distance,))[0]
        if abs(there - here - gradient * distance) > 0.2 * abs(gradient * distance):
            break
        distance *= 2
    return distance


def index_of_largest(gradient: Tensor) -> tuple[int, ...]:
    """The index of the largest |gradient|."""
    place = torch.unravel_index(gradient.detach().abs().argmax(), gradient.shape)
    return tuple(int(i) for i in place)
