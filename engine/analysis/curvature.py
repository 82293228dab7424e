"""How sharply a loss curves: the largest eigenvalue of its second derivatives, without ever making their matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CLOSE = 1e-4
"""Two guesses in a row that differ by no more than this, relative to their size, end the search."""


def largest_curvature(
    loss: Callable[[], Tensor], parameters: Sequence[Tensor], draws: torch.Generator, iterations: int = 100
) -> float:
    """The largest eigenvalue in size of the Hessian of `loss()` in all `parameters`, by power iteration.

    Each iteration multiplies a direction with the Hessian, as the derivative of (gradient · direction): the matrix,
    rows times rows of all weights, is never made. `draws` gives the first direction. `loss` must have two derivatives
    (fused attention has one). Plain gradient descent is stable along that direction below 2 / this number.
    """
    gradients = torch.autograd.grad(loss(), parameters, create_graph=True)
    way = [torch.randn(p.shape, generator=draws).to(p.device) for p in parameters]
    found = 0.0
    for _ in range(iterations):
        length = torch.sqrt(sum(((one * one).sum() for one in way), torch.zeros((), device=way[0].device)))
        way = [one / length for one in way]
        turned = torch.autograd.grad(gradients, parameters, grad_outputs=way, retain_graph=True)
        before, found = found, sum((a * b).sum().item() for a, b in zip(way, turned, strict=True))
        if abs(found - before) <= CLOSE * abs(found):
            break
        way = [one.detach() for one in turned]
    return found
