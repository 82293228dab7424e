"""The rules that turn gradients into an update.

Each group of parameters says how its rate follows from that of the run (`scale`), and whether weight decay pulls at
it (`decays`); `set_rate` is what the trainer turns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from ..config import RunConfig
from ..models.base import Model

MUON_MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.775, 2.0315)
"""Coefficients of the quintic iteration, from https://kellerjordan.github.io/posts/muon/, as in torch.optim.Muon."""
NEWTON_SCHULZ_STEPS = 5


def make_optimizer(config: RunConfig, model: Model) -> torch.optim.Optimizer:
    """The optimizer of a run over all parameters of `model`; its rates are set before each step (`set_rate`)."""
    parameters = list(model.parameters())
    if config.optimizer == "muon":
        matrices = model.hidden_matrices()
        hidden = set(matrices)
        return Muon(matrices, _groups([p for p in parameters if p not in hidden], config), config)
    groups = _groups(parameters, config)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, fused=True)
    return torch.optim.AdamW(groups, betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, lr: float, weight_decay: float) -> None:
    """The learning rate and the weight decay of the next update."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]
        group["weight_decay"] = weight_decay if group["decays"] else 0.0


def _groups(parameters: Sequence[Parameter], config: RunConfig) -> list[dict[str, Any]]:
    """One group, or two where weight decay is for matrices alone."""
    if config.decays == "all":
        return [{"params": list(parameters), "scale": 1.0, "decays": True}]
    matrices, others = [p for p in parameters if p.dim() >= 2], [p for p in parameters if p.dim() < 2]
    groups = [{"params": matrices, "scale": 1.0, "decays": True}, {"params": others, "scale": 1.0, "decays": False}]
    return [group for group in groups if group["params"]]


class Muon(torch.optim.Optimizer):
    """Muon for hidden matrices, AdamW for the other parameters, with one state for both.

    A matrix moves by lr · scale · sqrt(max(1, rows / columns)) along its momentum (Nesterov's), made orthogonal by
    five steps of a Newton-Schulz iteration. torch.optim.Muon iterates in bfloat16, which a CPU only emulates; here the
    CPU iterates in float32, matrices of one shape together. Source: Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/.
    """

    found_inf: Tensor | None = None
    """A GPU's verdict, as torch's fused optimizers read it: 1 withholds the update."""
    grad_scale: Tensor | None = None

    def __init__(self, matrices: Sequence[Parameter], rest: list[dict[str, Any]], config: RunConfig) -> None:
        own = {"params": list(matrices), "scale": config.muon_scale, "decays": True}
        super().__init__([own, *rest], {"lr": 0.0, "weight_decay": 0.0})
        self._adamw = torch.optim.AdamW(
            self.param_groups[1:], betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True
        )
        self._adamw.param_groups = self.param_groups[1:]  # one set of rates and of states for both
        self._adamw.state = self.state

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no closure is ever given
        """One update of all parameters from their gradients."""
        self._adamw.found_inf, self._adamw.grad_scale = self.found_inf, self.grad_scale  # type: ignore[attr-defined]
        self._adamw.step()
        group = self.param_groups[0]
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for matrix in group["params"]:
            if matrix.grad is not None:
                by_shape.setdefault(matrix.shape, []).append(matrix)
        for shape, matrices in by_shape.items():
            self._move(matrices, group["lr"] * math.sqrt(max(1, shape[0] / shape[1])), group)

    def _move(self, matrices: list[Tensor], rate: float, group: dict[str, Any]) -> None:
        """Move matrices of one shape together: momentum, orthogonal direction, weight decay, step."""
        gradients = torch.stack([matrix.grad for matrix in matrices])  # type: ignore[misc]  # (k, rows, columns)
        for matrix in matrices:
            if "momentum_buffer" not in self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        buffers = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        before = torch.stack(buffers)
        momentum = before.lerp(gradients, 1 - MUON_MOMENTUM)
        ways = orthogonal(gradients.lerp(momentum, MUON_MOMENTUM))
        weights = torch.stack(matrices)
        after = weights.mul(1 - group["lr"] * group["weight_decay"]).add_(ways, alpha=-rate)
        if self.found_inf is not None:
            momentum = torch.where(self.found_inf.bool(), before, momentum)
            after = torch.where(self.found_inf.bool(), weights, after)
        torch._foreach_copy_(matrices, list(after))
        torch._foreach_copy_(buffers, list(momentum))


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (k, rows, columns) with all singular values brought near 1 (0.7 to 1.2), their vectors kept.

    The quintic iteration X ← a X + (b X Xᵀ + c (X Xᵀ)²) X, after division by the Frobenius norm; in bfloat16 on a GPU,
    in float32 on a CPU.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT  # (k, rows, rows)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)
