"""A loss as the mean of its positions, against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from engine.analysis.loss_by_position import (
    added_as_torch_does,
    mean_like_cross_entropy,
    target_probabilities,
)
from engine.config import RunConfig
from engine.models.registry import build
from engine.presets import preset
from engine.text.points import Points


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 33, 256, 257, 1000, 4096, 70_000])
def test_the_mean_by_hand_is_cross_entropy_s_to_the_last_digit(count) -> None:
    draws = torch.Generator().manual_seed(count)
    logits, targets = torch.randn(count, 65, generator=draws), torch.randint(65, (count,), generator=draws)
    losses = F.cross_entropy(logits, targets, reduction="none")
    assert mean_like_cross_entropy(losses) == F.cross_entropy(logits, targets).item()


@pytest.mark.parametrize("name", ["bigram", "gpt-tiny", "document-002-line", "document-002"])
def test_the_positions_mean_is_the_model_s_loss(name) -> None:
    config = preset(name).config
    model = build(config, 40, torch.Generator().manual_seed(1))
    if config.reads_text:
        ids = torch.randint(40, (3, 9), generator=torch.Generator().manual_seed(2))
        inputs, targets = ids[:, :-1], ids[:, 1:]
    else:
        points = Points.of(config)
        inputs, targets = points.inputs, points.targets
    outputs = model.outputs(inputs)
    losses = model.pointwise_loss(outputs, targets)
    assert losses.shape == targets.shape
    assert added_as_torch_does(model, losses) == model.loss(outputs, targets).item()


def test_the_right_token_s_chance_is_softmax_at_the_target() -> None:
    logits, targets = torch.randn(2, 3, 5), torch.tensor([[0, 1, 2], [4, 4, 0]])
    found = target_probabilities(logits, targets)
    for b in range(2):
        for t in range(3):
            assert found[b, t] == torch.softmax(logits[b, t], 0)[targets[b, t]]
    model = build(RunConfig(), 5)
    assert torch.allclose(-found.log(), model.pointwise_loss(logits, targets), atol=1e-6)
