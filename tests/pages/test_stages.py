"""A step made stage by stage, copies that stand where a run stands, and lanes beside the room's run."""

from __future__ import annotations

import pytest
import torch

from engine.config import LiveSettings, RunConfig, changed
from engine.lessons.whole_step import make_whole_step
from engine.presets import preset
from engine.stream.status import State
from engine.text.points import Points
from engine.training.state import replay, restore, take_snapshot
from engine.training.trainer import STAGES, Trainer

GPT = RunConfig(
    model="gpt", block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=0.2, observe_every=3, sample_every=5, eval_every=4
)
BIGRAM = RunConfig(block_size=8, observe_every=3)
LINE = preset("document-002-line").config
LOGISTIC = preset("document-002").config
SETTINGS = LiveSettings(lr=0.01, max_steps=1000, batch_size=4)


def dataset_of(config, corpus):
    return corpus if config.reads_text else Points.of(config)


def state_of(trainer):
    """Weights and optimizer state, as one list of tensors."""
    kept = take_snapshot(trainer)
    return [*kept.weights.values(), *(t for name in kept.weights for t in kept.optimizer.get(name, {}).values())]


@pytest.mark.parametrize("config", [BIGRAM, GPT, LINE, LOGISTIC], ids=lambda c: c.model)
def test_stages_by_hand_are_ordinary_steps(config, corpus) -> None:
    losses: list[list[float]] = [[], []]
    plain, staged = (
        Trainer(config, SETTINGS, dataset_of(config, corpus), lambda r, into=into: into.append(getattr(r, "loss", 0)))
        for into in losses
    )
    for _ in range(12):
        plain.advance()
    for _ in range(12):
        assert [staged.stage() for _ in STAGES] == list(STAGES)
    assert losses[0] == losses[1]
    assert all(torch.equal(one, other) for one, other in zip(state_of(plain), state_of(staged), strict=True))


@pytest.mark.parametrize("config", [BIGRAM, GPT, LINE, LOGISTIC], ids=lambda c: c.model)
def test_a_restored_trainer_goes_on_bit_for_bit(config, corpus) -> None:
    trainer = Trainer(config, SETTINGS, dataset_of(config, corpus), lambda _: None)
    for _ in range(7):
        trainer.advance()
    kept = take_snapshot(trainer)
    other = Trainer(config, changed(SETTINGS, lr=0.5), dataset_of(config, corpus), lambda _: None)
    other.advance()
    restore(other, kept)
    for _ in range(5):
        trainer.advance()
        other.advance()
        assert trainer.recorder.loss == other.recorder.loss
    assert (trainer.step, trainer.tokens_seen) == (other.step, other.tokens_seen)
    assert all(torch.equal(one, two) for one, two in zip(state_of(trainer), state_of(other), strict=True))


@pytest.mark.parametrize("config", [BIGRAM, GPT, LINE], ids=lambda c: c.model)
def test_a_run_stepped_by_stages_equals_one_stepped_whole(config, corpus, make_run, wait_until) -> None:
    data = dataset_of(config, corpus)
    whole, staged = make_run(config, SETTINGS, data), make_run(config, SETTINGS, data)
    whole.make_steps(3)
    wait_until(lambda: whole.step == 3 and whole.state is State.PAUSED)
    for count in range(1, 3 * len(STAGES) + 1):
        staged.make_stage()
        wait_until(lambda count=count: staged.step * len(STAGES) + staged.stage >= count - 2 and staged.paused_state())
    wait_until(lambda: staged.step == 3 and staged.stage == 0)
    one, other = whole.paused_state().snapshot, staged.paused_state().snapshot
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert staged.state is State.PAUSED


@pytest.mark.parametrize("done", range(len(STAGES)))
def test_a_replayed_moment_has_the_run_s_own_tensors(done, corpus, make_run, wait_until) -> None:
    run = make_run(GPT, SETTINGS, corpus)
    run.make_steps(2)
    wait_until(lambda: run.step == 2 and run.state is State.PAUSED)
    for _ in range(done):
        run.make_stage()
    moment = run.paused_state()
    assert moment.stages == run.stage == done
    copy = replay(GPT, corpus, moment)
    live = run.loop.trainer
    assert (copy.step, copy.stages_done) == (live.step, live.stages_done)
    for mine, its in zip(copy.parameters, live.parameters, strict=True):
        assert torch.equal(mine, its)
        assert (mine.grad is None) == (its.grad is None)
        assert mine.grad is None or torch.equal(mine.grad, its.grad)
    if done > STAGES.index("loss"):
        assert torch.equal(copy.loss, live.loss)
        assert torch.equal(copy.logits, live.logits)
    copy.advance()
    copy.advance()
    assert run.step == live.step, "the copy moved the run"


def test_a_knob_turned_inside_a_step_is_replayed_at_its_stage(corpus, make_run, wait_until) -> None:
    run = make_run(BIGRAM, SETTINGS, corpus)
    for _ in range(4):
        run.make_stage()
    run.tune(changed(SETTINGS, lr=0.1))
    for _ in range(3):
        run.make_stage()
    run.paused_state()
    run.tune(changed(SETTINGS, lr=0.7))
    copy = replay(BIGRAM, corpus, run.paused_state())
    assert torch.equal(copy.parameters[0], run.loop.trainer.parameters[0])
    assert copy.settings.lr == 0.7


def test_plus_one_finishes_the_step_under_way(corpus, make_run, wait_until) -> None:
    run = make_run(BIGRAM, SETTINGS, corpus)
    for _ in range(4):
        run.make_stage()
    run.paused_state()
    assert "after backward" in run.message
    run.make_steps(1)
    wait_until(lambda: run.step == 1 and run.stage == 0 and run.state is State.PAUSED)


def test_a_lane_trains_beside_the_room_s_run(manager, wait_until) -> None:
    start = preset("document-002-line")
    first = manager.prepare_demo("line", start.config, start.settings)
    lane = manager.prepare_demo("line", start.config, changed(start.settings, speed="unlimited"))
    assert not first._thread.is_alive()
    lane.start()
    wait_until(lambda: lane.step == 1000)
    assert manager.current is None
    assert manager.run_named("line") is lane is manager.find(lane.id)
    wait_until(lambda: "parameter/a" in lane.history.series)


@pytest.mark.parametrize("config", [BIGRAM, GPT, LINE], ids=lambda c: c.model)
def test_copies_taken_while_it_trains_change_no_loss(config, corpus, make_run, wait_until) -> None:
    data = dataset_of(config, corpus)
    alone, looked_at = (make_run(config, changed(SETTINGS, max_steps=100, speed=100), data) for _ in range(2))
    alone.start()
    looked_at.start()
    taken = set()
    while len(taken) < 5 and looked_at.state in (State.READY, State.RUNNING):
        moment = looked_at.paused_state()
        taken.add(moment.snapshot.step)
        make_whole_step(config, data, moment)
    wait_until(lambda: alone.state is State.DONE and looked_at.state is State.DONE)
    one, other = alone.paused_state().snapshot, looked_at.paused_state().snapshot
    assert len(taken) > 1 and one.step == other.step == 100
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert all(torch.equal(one.generators[name], other.generators[name]) for name in one.generators)
