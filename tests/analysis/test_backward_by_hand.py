"""Backward by hand: every node called one by one gives torch's own gradients, of a bigram and of a whole GPT."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.analysis.backward_by_hand import backward_by_hand, score_terms
from engine.analysis.gradient_check import float64_copy, slope_at
from engine.config import RunConfig
from engine.models.base import LanguageModel
from engine.models.registry import build_language_model
from engine.presets import preset

GPT = RunConfig(model="gpt", block_size=8, n_layer=2, n_head=2, n_embd=16)
TIED = RunConfig(model="gpt", block_size=8, n_layer=1, n_head=2, n_embd=16, tie_weights=True)
CONFIGS = {"bigram": preset("bigram").config, "gpt": GPT, "tied": TIED}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def batch(request: pytest.FixtureRequest) -> tuple[LanguageModel, Tensor, Tensor]:
    model = build_language_model(request.param, 12, torch.Generator().manual_seed(0))
    inputs, targets = torch.randint(12, (2, 3, 8), generator=torch.Generator().manual_seed(1))
    return model, inputs, targets


def test_the_chain_called_by_hand_gives_backward_s_gradient_in_every_weight(batch) -> None:
    model, inputs, targets = batch
    hand = backward_by_hand(model(inputs, targets)[1])
    assert all(p.grad is None for p in model.parameters())
    model(inputs, targets)[1].backward()
    for name, parameter in model.named_parameters():
        assert torch.equal(hand.gradient(parameter), parameter.grad), name
        way = hand.way_to(parameter)
        assert way[0][0] == "NllLossBackward0"
        assert not any("AccumulateGrad" in node for node, _ in way)


def test_a_graph_with_branches_is_walked_by_hand() -> None:
    one, other, idle = (torch.full((3,), value, requires_grad=True) for value in (2.0, 5.0, 7.0))
    loss = (one * other + one**2 + other.sum() / 3).sum()
    hand = backward_by_hand(loss)
    assert hand.gradient(one).tolist() == [9.0] * 3
    assert hand.gradient(other).tolist() == [3.0] * 3
    assert hand.gradient(idle) is None and hand.way_to(idle) == []


def test_one_weight_of_a_gpt_is_a_sum_of_products_and_equals_autograd_and_a_finite_difference() -> None:
    model = build_language_model(GPT, 12, torch.Generator().manual_seed(3))
    inputs, targets = torch.randint(12, (2, 3, 8), generator=torch.Generator().manual_seed(4))
    terms = score_terms(model, inputs, targets, "head.weight", 5, 7)
    assert len(terms) == targets.numel()
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    slope = slope_at(float64_copy(GPT, 12, weights), inputs, targets, "head.weight", (5, 7))
    total = sum(term.product for term in terms)
    assert total == pytest.approx(slope.analytic, abs=1e-7) == pytest.approx(slope.numeric, abs=1e-7)
    assert sum(term.pull < 0 for term in terms) == int((targets == 5).sum())


def test_one_weight_of_a_bigram_is_a_sum_over_the_places_with_its_row() -> None:
    model = build_language_model(preset("bigram").config, 12, torch.Generator().manual_seed(3))
    inputs, targets = torch.randint(12, (2, 3, 8), generator=torch.Generator().manual_seed(4))
    row, column = int(inputs[0, 0]), int(targets[0, 0])
    terms = score_terms(model, inputs, targets, "token_embedding.weight", row, column)
    assert sum(term.fed for term in terms) == int((inputs == row).sum())
    model(inputs, targets)[1].backward()
    assert sum(term.product for term in terms) == pytest.approx(float(model.token_embedding.weight.grad[row, column]))
    gpt = build_language_model(GPT, 12, torch.Generator().manual_seed(3))
    assert score_terms(gpt, inputs, targets, "token_embedding.weight", row, column) == []
