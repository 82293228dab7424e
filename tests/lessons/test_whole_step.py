"""A step made whole on a copy, and the numbers of one token on its way through the nine stages."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from engine.config import LiveSettings, RunConfig, changed
from engine.lessons.whole_step import make_whole_step
from engine.presets import preset
from engine.text.points import Points
from engine.training.checkpoint import PausedState
from engine.training.state import take_snapshot
from engine.training.trainer import STAGES, Trainer

GPT = RunConfig(model="gpt", block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=0.2)
CONFIGS = [
    RunConfig(block_size=8),
    GPT,
    changed(GPT, tie_weights=True),
    preset("document-002-line").config,
    preset("document-002").config,
]
SETTINGS = LiveSettings(lr=0.01, batch_size=4)


def trainer_of(config, corpus, settings=SETTINGS, steps=3) -> Trainer:
    data = corpus if config.reads_text else Points.of(config)
    trainer = Trainer(config, settings, data, lambda _: None)
    for _ in range(steps):
        trainer.advance()
    return trainer


@pytest.mark.parametrize("config", CONFIGS, ids=["bigram", "gpt", "tied gpt", "line", "logistic"])
def test_a_whole_step_on_a_copy_is_the_run_s_own_next_step(config, corpus) -> None:
    trainer = trainer_of(config, corpus)
    whole = make_whole_step(config, trainer.dataset, PausedState(take_snapshot(trainer), 0))
    gradients = {}
    for name in STAGES:
        trainer.stage()
        if name == "backward":
            gradients = {key: p.grad.clone() for key, p in trainer.model.named_parameters()}
    assert torch.equal(whole.inputs, trainer.inputs) and torch.equal(whole.outputs, trainer.logits)
    assert whole.loss == trainer.loss.item() and not whole.withheld
    assert all(torch.equal(whole.gradients[name], gradient) for name, gradient in gradients.items())
    assert all(torch.equal(whole.after[name], p) for name, p in trainer.model.named_parameters())
    assert whole.following.snapshot.step == trainer.step == 4
    assert all(
        torch.equal(a, b) for a, b in zip(whole.following.snapshot.weights.values(), whole.after.values(), strict=True)
    )


@pytest.mark.parametrize("config", CONFIGS, ids=["bigram", "gpt", "tied gpt", "line", "logistic"])
def test_one_token_followed_has_plain_autograd_s_numbers(config, corpus) -> None:
    trainer = trainer_of(config, corpus)
    whole = make_whole_step(config, trainer.dataset, PausedState(take_snapshot(trainer), 0))
    for row in range(whole.targets.shape[0]):
        for position in range(whole.targets.shape[1]):
            found = whole.follow(row, position)
            outputs = whole.outputs.clone().requires_grad_(True)
            whole.model.loss(outputs, whole.targets).backward()
            at = (row, position, int(whole.targets[row, position])) if config.reads_text else (row, position)
            assert found.pull == float(outputs.grad[at]) and found.score == float(whole.outputs[at])
            assert found.before == float(whole.before[found.weight][found.spot])
            assert found.slope == float(whole.gradients[found.weight][found.spot])
            assert found.after == float(whole.after[found.weight][found.spot])
            if config.reads_text:
                chance = F.softmax(whole.outputs[row, position], -1)
                assert found.probability == pytest.approx(float(chance[at[2]]))
                assert found.surprise == pytest.approx(-math.log(found.probability), rel=1e-4)
                assert found.rank == int((chance > chance[at[2]]).sum()) + 1
            if config.model == "bigram":
                assert found.spot == (int(whole.inputs[row, position]), at[2]), "the cell of the pair itself"


def test_dropout_is_the_same_before_and_after_the_update(corpus) -> None:
    trainer = trainer_of(GPT, corpus, changed(SETTINGS, lr=1e-12, weight_decay=0.0))
    whole = make_whole_step(GPT, corpus, PausedState(take_snapshot(trainer), 0))
    assert torch.allclose(whole.outputs, whole.new_outputs, atol=1e-6)


def test_a_withheld_update_moves_no_weight_and_the_next_step_begins_there(corpus) -> None:
    config = RunConfig(block_size=8)
    trainer = trainer_of(config, corpus)
    with torch.no_grad():
        trainer.parameters[0].fill_(math.inf)
    whole = make_whole_step(config, corpus, PausedState(take_snapshot(trainer), 0))
    assert whole.withheld and not math.isfinite(whole.loss)
    assert all(torch.equal(whole.after[name], before) for name, before in whole.before.items())
    assert whole.following.snapshot.step == 3
    whole.follow(0, 0)


def test_a_knob_turned_inside_the_step_turns_there(corpus) -> None:
    config, faster = RunConfig(block_size=8), changed(SETTINGS, lr=0.5)
    trainer = trainer_of(config, corpus)
    moment = PausedState(take_snapshot(trainer), 5, ((4, faster),))
    whole = make_whole_step(config, corpus, moment)
    for _ in range(4):
        trainer.stage()
    trainer.tune(faster)
    trainer.advance()
    assert all(torch.equal(whole.after[name], p) for name, p in trainer.model.named_parameters())
    assert whole.following.snapshot.settings.lr == 0.5
