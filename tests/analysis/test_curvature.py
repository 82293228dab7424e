"""The largest eigenvalue by power iteration against the whole matrix."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.analysis.curvature import largest_curvature
from engine.models.gpt import GPT


def test_of_a_line_it_is_the_one_that_algebra_gives() -> None:
    x, y = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 5.0, 7.0])
    a, b = (torch.zeros((), requires_grad=True) for _ in range(2))
    found = largest_curvature(lambda: ((a * x + b - y) ** 2).mean(), [a, b], torch.Generator().manual_seed(1))
    hessian = 2 * torch.tensor([[float((x * x).mean()), 2.0], [2.0, 1.0]])
    assert found == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-3)


@pytest.mark.parametrize("kind", ["table", "gpt"])
def test_of_a_model_it_is_that_of_the_whole_hessian(kind: str) -> None:
    draws = torch.Generator().manual_seed(4)
    inputs, targets = torch.randint(6, (2, 3, 4), generator=draws)
    model = GPT(6, 4, 1, 1, 4, generator=draws)
    table = torch.randn(6, 6, generator=draws, requires_grad=True)
    parameters = [table] if kind == "table" else list(model.parameters())

    def of(weights: dict[str, Tensor]) -> Tensor:
        logits = torch.func.functional_call(model, weights, (inputs,))[0]
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def loss() -> Tensor:
        if kind == "table":
            return F.cross_entropy(table[inputs].flatten(0, 1), targets.flatten())
        return of(dict(model.named_parameters()))

    names, sizes = [name for name, _ in model.named_parameters()], [p.numel() for p in parameters]

    def flat(vector: Tensor) -> Tensor:
        if kind == "table":
            return F.cross_entropy(vector.view(6, 6)[inputs].flatten(0, 1), targets.flatten())
        parts = [part.view(p.shape) for part, p in zip(vector.split(sizes), parameters, strict=True)]
        return of(dict(zip(names, parts, strict=True)))

    whole = torch.autograd.functional.hessian(flat, torch.cat([p.detach().flatten() for p in parameters]))
    eigenvalues = torch.linalg.eigvalsh(whole)
    largest = eigenvalues[eigenvalues.abs().argmax()]
    found = largest_curvature(loss, parameters, torch.Generator().manual_seed(2), iterations=2000)
    assert found == pytest.approx(float(largest), rel=0.02)
