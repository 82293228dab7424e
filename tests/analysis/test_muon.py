"""Muon taken apart agrees with what the optimizer does."""

from __future__ import annotations

import pytest
import torch

from engine.analysis.muon import muon_update
from engine.config import RunConfig
from engine.models.gpt import GPT
from engine.training.optimizers import make_optimizer, set_rate


def test_the_parts_lead_to_the_optimizers_own_result() -> None:
    model = GPT(20, 8, 2, 2, 16, generator=torch.Generator().manual_seed(7))
    optimizer = make_optimizer(RunConfig(model="gpt", optimizer="muon", muon_scale=3.0), model)
    set_rate(optimizer, 0.01, 0.1)
    draws = torch.Generator().manual_seed(1)
    for _ in range(3):
        kept = {p: optimizer.state[p].get("momentum_buffer") for p in model.hidden_matrices()}
        before = {p: (p.detach().clone(), None if one is None else one.clone()) for p, one in kept.items()}
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=draws)
        optimizer.step()
        for parameter, (weight, momentum) in before.items():
            assert parameter.grad is not None
            taken = muon_update(weight, parameter.grad, momentum, 0.03, 0.1)
            assert torch.allclose(taken.after, parameter, rtol=0, atol=1e-6)
            assert torch.allclose(taken.momentum, optimizer.state[parameter]["momentum_buffer"], atol=1e-6)
            assert taken.stretch == pytest.approx(max(1, parameter.shape[0] / parameter.shape[1]) ** 0.5)
