"""An earlier step opened: its state is the one the run had there, bit for bit, and the run goes on undisturbed."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from engine.config import changed
from engine.errors import InputError
from engine.models.base import LanguageModel
from engine.paths import home
from engine.presets import preset
from engine.runs.manager import RunManager
from engine.runs.restored_state import RestoredState
from engine.runs.run import Run
from engine.storage import checkpoint_files, reader
from engine.storage.displayed_state import displayed_state, displayed_step_before
from engine.stream.status import State
from engine.training.checkpoint import Snapshot
from engine.training.observer import Observer
from engine.training.state import replay, take_snapshot
from engine.training.trainer import STAGES, Trainer

BIGRAM = changed(preset("bigram").config, corpus="tiny", snapshot_every=400)
GPT = changed(
    preset("gpt-tiny").config, corpus="tiny", block_size=8, n_layer=1, n_embd=8, dropout=0.2, snapshot_every=300
)
TIED = changed(GPT, tie_weights=True)
EPOCHS = changed(GPT, epochs=500, eval_every=500, eval_batches=1, sample_tokens=1)
SETTINGS = changed(preset("bigram").settings, speed="unlimited", batch_size=4)


def tensors(shot: Snapshot) -> dict[str, torch.Tensor]:
    """All that a snapshot holds, by name."""
    kept = {
        f"{kind}/{name}": t for kind in ("weights", "generators", "batches") for name, t in getattr(shot, kind).items()
    }
    return kept | {f"{name}/{key}": t for name, state in shot.optimizer.items() for key, t in state.items()}


def equal(one: Snapshot, other: Snapshot) -> bool:
    mine, its = tensors(one), tensors(other)
    same = mine.keys() == its.keys() and all(torch.equal(tensor, its[name]) for name, tensor in mine.items())
    return same and (one.step, one.tokens_seen, one.settings) == (other.step, other.tokens_seen, other.settings)


def go(run: Run, step: int, wait_until) -> Snapshot:
    """Train up to that step; the state there, asked of the run itself."""
    if step > run.step:
        run.make_steps(step - run.step)
    wait_until(lambda: run.step == step and run.state is State.PAUSED, 60)
    return run.paused_state().snapshot


def opened(manager: RunManager, step: int) -> RestoredState:
    made = manager.restore_step(step)
    assert made.wait(60) and made.error == ""
    return made


@pytest.mark.parametrize(
    "config",
    [BIGRAM, GPT, pytest.param(TIED, marks=pytest.mark.thorough), pytest.param(EPOCHS, marks=pytest.mark.thorough)],
    ids=["bigram", "gpt", "tied", "epochs"],
)
def test_an_earlier_step_is_what_it_was(manager: RunManager, wait_until, config) -> None:
    run = manager.prepare(config, SETTINGS)
    there = {0: run.paused_state().snapshot}
    there[333] = go(run, 333, wait_until)
    run.tune(changed(run.settings, lr=0.0123456789, batch_size=5))
    there[340] = go(run, 340, wait_until)
    there[541] = go(run, 541, wait_until)
    there[600] = go(run, 600, wait_until)
    manager.flush(run)
    kept = home() / "runs" / run.id / "snapshots"
    for step in (333, 340, 541, 600):  # a step that was the last for a while may have one: the way there is the test
        shutil.rmtree(checkpoint_files.at(kept, step), ignore_errors=True)
    for step, state in there.items():
        made = opened(manager, step)
        assert made.step == step and made.snapshot_step == max(
            have for have in checkpoint_files.steps(kept) if have <= step
        )
        assert made.snapshot_step < step or step == 0
        if step != 333:
            assert equal(made.paused_state.snapshot, state)
        else:  # the knob was turned after that step, before the next
            assert made.paused_state.snapshot.settings.lr == 0.0123456789
            assert all(torch.equal(w, state.weights[name]) for name, w in made.paused_state.snapshot.weights.items())
        model = made.model()
        assert not model.training
        assert all(torch.equal(w.detach(), state.weights[name]) for name, w in model.named_parameters())


def test_the_step_after_it_is_the_one_that_was_made(manager: RunManager, wait_until) -> None:
    """With a knob turned between two of its stages."""
    run = manager.prepare(GPT, SETTINGS)
    go(run, 20, wait_until)
    for stages, change in ((1, {"batch_size": 7}), (4, {"lr": 0.5})):
        while run.stage != stages:
            run.make_stage()
            run.paused_state()
        run.tune(changed(run.settings, **change))
    while run.stage:
        run.make_stage()
        run.paused_state()
    after = run.paused_state().snapshot
    go(run, 30, wait_until)
    made = opened(manager, 20)
    assert [stages for stages, _ in made.paused_state.turns] == [1, 4]
    whole = replay(run.config, run.dataset, dataclasses.replace(made.paused_state, stages=len(STAGES)))
    assert all(torch.equal(w.detach(), after.weights[name]) for name, w in whole.model.named_parameters())


def test_the_run_trains_on_undisturbed(manager: RunManager, wait_until) -> None:
    settings = changed(SETTINGS, max_steps=3000)
    run = manager.start(BIGRAM, settings)
    wait_until(lambda: run.step > 900)
    made = opened(manager, 790)
    wait_until(lambda: run.state is State.DONE, 60)
    manager.flush(run)
    plain: list[float] = []
    alone = Trainer(BIGRAM, settings, run.dataset, lambda record: plain.append(getattr(record, "loss", None)))
    weights = None
    while alone.step < 3000:
        alone.advance()
        if alone.step == 790:
            weights = take_snapshot(alone).weights
    losses = [loss for loss in plain if loss is not None]
    assert [row.loss for row in reader.scalars(reader.open_run(run.id))] == [float(np.float32(loss)) for loss in losses]
    assert all(torch.equal(w, weights[name]) for name, w in made.paused_state.snapshot.weights.items())


def test_nothing_is_sampled_or_measured_on_the_way(manager: RunManager, wait_until, monkeypatch) -> None:
    run = manager.prepare(changed(BIGRAM, observe_every=5, eval_every=10, sample_every=20), SETTINGS)
    go(run, 399, wait_until)
    for name in ("validate", "sample"):
        monkeypatch.setattr(Observer, name, lambda *_: pytest.fail("the way there is not to be watched"))
    assert opened(manager, 398).step == 398


def test_too_far_from_its_snapshot_it_opens_where_the_time_ends(manager: RunManager, wait_until) -> None:
    run = manager.prepare(BIGRAM, SETTINGS)
    go(run, 390, wait_until)
    made = RestoredState(run, 380, manager.flush, time_limit=0.0)
    assert made.wait(30) and made.error == ""
    assert (made.snapshot_step, made.step, made.paused_state.snapshot.step) == (200, 200, 200)


def test_one_is_made_at_a_time_and_the_end_waits_for_none(manager: RunManager, wait_until) -> None:
    run = manager.prepare(BIGRAM, SETTINGS)
    go(run, 399, wait_until)
    first, second = manager.restore_step(390), manager.restore_step(391)
    assert first.wait(30) and second.wait(30)
    assert first.error == "step 390 was given up; open it again" or first.paused_state.snapshot.step == 390
    assert second.paused_state.snapshot.step == 391
    last = manager.restore_step(392)
    assert manager.close(30) and not last.in_progress


def test_what_cannot_be_opened_is_said(manager: RunManager, wait_until) -> None:
    with pytest.raises(InputError, match="no run to go back in"):
        manager.restore_step(3)
    run = manager.prepare(BIGRAM, SETTINGS)
    go(run, 60, wait_until)
    for step in (61, -1):
        with pytest.raises(InputError, match=rf"step {step} is not possible; choose one from 0 to 60"):
            manager.restore_step(step)
    folder = home() / "runs" / run.id / "snapshots"
    manager.flush(run)
    for step in checkpoint_files.steps(folder):
        checkpoint_files.at(folder, step).joinpath("manifest.json").unlink()
    made = manager.restore_step(50)
    assert made.wait(30) and made.paused_state is None
    assert "has no snapshot at or before step 50" in made.error
    assert go(run, 70, wait_until).step == 70


def test_its_tables_are_its_own_and_the_plane_is_seen_from_the_same_side(manager: RunManager, wait_until) -> None:
    run = manager.prepare(changed(BIGRAM, observe_every=50), SETTINGS)
    go(run, 350, wait_until)
    made = opened(manager, 333)
    folder = home() / "runs" / run.id
    before = displayed_state(folder, displayed_step_before(folder, 333))
    shown = made.displayed_state(before)
    model = made.model()
    assert isinstance(model, LanguageModel) and shown.step == 333
    assert np.array_equal(shown.tables["weights/token_embedding"], model.token_embedding.weight.detach().numpy())
    was, now = before.tables["projection/token_embedding"], shown.tables["projection/token_embedding"]
    assert was.shape == now.shape and not np.array_equal(was, now)
    assert all(
        (was[:, axis] * now[:, axis]).sum() > 0.9 * np.linalg.norm(was[:, axis]) * np.linalg.norm(now[:, axis])
        for axis in (0, 1)
    )
