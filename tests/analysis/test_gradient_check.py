"""Gradients are slopes: autograd against finite differences in float64, for every kind of model."""

from __future__ import annotations

import pytest
import torch

from engine.analysis.gradient_check import (
    float64_copy,
    index_of_largest,
    losses_along,
    slope_at,
    to_float64,
    visible_distance,
)
from engine.config import LiveSettings, RunConfig
from engine.presets import preset
from engine.text.points import Points
from engine.training.state import take_snapshot
from engine.training.trainer import Trainer

GPT = RunConfig(model="gpt", block_size=8, n_layer=2, n_head=2, n_embd=8, dropout=0.2)
CONFIGS = [RunConfig(), GPT, preset("document-002-line").config, preset("document-002").config]


def trained(config, corpus, steps=3) -> Trainer:
    dataset = corpus if config.reads_text else Points.of(config)
    trainer = Trainer(config, LiveSettings(lr=0.01, batch_size=4), dataset, lambda _: None)
    for _ in range(steps):
        trainer.advance()
    trainer.batch()
    return trainer


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.model)
def test_the_gradient_of_every_parameter_is_a_slope(config, corpus) -> None:
    trainer = trained(config, corpus)
    weights = take_snapshot(trainer).weights
    model = float64_copy(config, trainer.dataset.vocab_size, weights)
    inputs, targets = to_float64(trainer.inputs), to_float64(trainer.targets)
    for name, parameter in model.named_parameters():
        loss = model.loss(model.outputs(inputs), targets)
        (gradient,) = torch.autograd.grad(loss, parameter)
        found = slope_at(model, inputs, targets, name, index_of_largest(gradient))
        assert found.relative_error < 1e-4, (name, found)
        assert found.analytic == float(gradient.flatten()[gradient.abs().argmax()])


def test_a_weight_that_the_batch_skips_has_slope_zero(corpus) -> None:
    trainer = trained(RunConfig(), corpus)
    model = float64_copy(RunConfig(), corpus.vocab_size, take_snapshot(trainer).weights)
    (skipped, *_) = set(range(corpus.vocab_size)) - set(trainer.inputs.flatten().tolist())
    found = slope_at(model, trainer.inputs, trainer.targets, "token_embedding.weight", (skipped, 0))
    assert (found.analytic, found.numeric, found.relative_error) == (0, 0, 0)


def test_the_copy_computes_the_run_s_loss_and_comes_back(corpus) -> None:
    trainer = trained(GPT, corpus)
    model = float64_copy(GPT, corpus.vocab_size, take_snapshot(trainer).weights)
    trainer.model.eval()
    losses = losses_along(model, trainer.inputs, trainer.targets, "head.weight", (0, 0), (0.0, 0.5, 0.0))
    assert losses[0] == losses[2] != losses[1]
    assert losses[0] == pytest.approx(float(trainer.model(trainer.inputs, trainer.targets)[1].detach()), rel=1e-5)


def test_the_reach_shows_the_curve_leave_its_tangent() -> None:
    """On a parabola x², at x = 1, the loss is off the tangent by r² after a move of r, a fifth of 2r at r = 0.4."""
    config = preset("document-002-line").config
    model = float64_copy(config, 0, {"a": torch.tensor(1.0), "b": torch.tensor(0.0)})
    one = torch.ones(1, 1, dtype=torch.float64)
    assert visible_distance(model, one, 0 * one, "a", (), 2.0) == 0.5
