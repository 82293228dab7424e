"""Is a gradient a slope? Analytic gradients beside finite differences, on a copy of the model in float64.

Knows no trainer and no run: a model, its weights, a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..config import RunConfig
from ..models import Model, build

NUDGE = 1e-4
SHORTEST, LONGEST = 1 / 64, 8.0


class Slope(NamedTuple):
    """The slope of the loss in one weight: by autograd, and by nudging the weight both ways (float64 both)."""

    analytic: float
    numeric: float
    below: float
    above: float

    @property
    def relative_error(self) -> float:
        """Their difference as a share of the larger one; 0 where both are 0."""
        largest = max(abs(self.analytic), abs(self.numeric))
        return abs(self.analytic - self.numeric) / largest if largest else 0.0


def in_float64(config: RunConfig, vocab_size: int, weights: Mapping[str, Tensor]) -> Model:
    """A copy of a run's model in float64 with `weights`, in eval(): nothing in it is drawn by chance."""
    model = build(config, vocab_size).double().eval()
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)
    return model


def exact(tensor: Tensor) -> Tensor:
    """Numbers in float64; token ids stay what they are."""
    return tensor.double() if tensor.is_floating_point() else tensor


def slope(
    model: Model, inputs: Tensor, targets: Tensor, name: str, index: Sequence[int], nudge: float = NUDGE
) -> Slope:
    """The slope of `model`'s loss in its parameter `name` at `index`: autograd's, and (L(w+h) - L(w-h)) / 2h."""
    parameter = dict(model.named_parameters())[name]
    loss = model.loss(model.outputs(inputs), targets)
    (gradient,) = torch.autograd.grad(loss, parameter)
    below, above = along(model, inputs, targets, name, index, (-nudge, nudge))
    return Slope(float(gradient[tuple(index)]), (above - below) / (2 * nudge), below, above)


def along(
    model: Model, inputs: Tensor, targets: Tensor, name: str, index: Sequence[int], offsets: Sequence[float]
) -> list[float]:
    """The loss with one weight moved by each of `offsets`, all others as they are; the weight comes back."""
    parameter, place = dict(model.named_parameters())[name], tuple(index)
    losses = []
    with torch.no_grad():
        kept = parameter[place].clone()
        for offset in offsets:
            parameter[place] = kept + offset
            losses.append(float(model.loss(model.outputs(inputs), targets)))
        parameter[place] = kept
    return losses


def telling_reach(
    model: Model, inputs: Tensor, targets: Tensor, name: str, index: Sequence[int], gradient: float
) -> float:
    """How far one weight has to move until the loss leaves its tangent visibly: by a fifth of the tangent's change."""
    here = along(model, inputs, targets, name, index, (0.0,))[0]
    reach = SHORTEST
    while reach < LONGEST:
        there = along(model, inputs, targets, name, index, (reach,))[0]
        if abs(there - here - gradient * reach) > 0.2 * abs(gradient * reach):
            break
        reach *= 2
    return reach


def largest(gradient: Tensor) -> tuple[int, ...]:
    """Where the largest |gradient| is."""
    place = torch.unravel_index(gradient.detach().abs().argmax(), gradient.shape)
    return tuple(int(i) for i in place)
