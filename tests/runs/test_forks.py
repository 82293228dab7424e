"""A fork goes on as its parent does, bit for bit, from any step; and the parent loses nothing."""

from __future__ import annotations

import json
import threading

import pytest
import torch

from engine.config import changed
from engine.errors import InputError
from engine.paths import home
from engine.presets import preset
from engine.runs import forks
from engine.runs.manager import RunActive, RunManager
from engine.runs.run import Run
from engine.runs.training_thread import TrainingThread
from engine.storage import checkpoint_files, reader
from engine.storage.resume_point import ResumePoint
from engine.storage.writer import RunWriter
from engine.stream.history import History
from engine.stream.status import State
from engine.text.corpus import Corpus
from engine.training.state import take_snapshot
from engine.training.trainer import Trainer

BIGRAM = changed(preset("bigram").config, corpus="tiny", snapshot_every=400)
GPT = changed(
    preset("gpt-tiny").config, corpus="tiny", block_size=8, n_layer=1, n_embd=8, dropout=0.2, snapshot_every=300
)
EPOCHS = changed(GPT, epochs=500, eval_every=500, eval_batches=1, sample_tokens=1)
SETTINGS = changed(preset("bigram").settings, speed="unlimited", batch_size=4)


def losses(run: Run, first: int = 1) -> list[tuple[int, float]]:
    """Step and loss of every step from `first` on, as they lie on the disk."""
    return [(row.step, row.loss) for row in reader.scalars(reader.open_run(run.id)) if row.step >= first]


def same(one: Run, other: Run) -> bool:
    mine, its = one.paused_state().snapshot, other.paused_state().snapshot
    return mine.step == its.step and all(torch.equal(mine.weights[name], its.weights[name]) for name in its.weights)


@pytest.fixture
def go(manager: RunManager, wait_until):
    """`go(run, step)`: train up to that step and have everything on the disk."""

    def go(run: Run, step: int) -> None:
        if step > run.step:
            run.make_steps(step - run.step)
        wait_until(lambda: run.step == step and run.state in (State.PAUSED, State.DONE), 60)
        manager.flush(run)

    return go


@pytest.mark.parametrize(
    ("config", "step"),
    [(BIGRAM, None), (BIGRAM, 533), (GPT, 396), pytest.param(EPOCHS, 396, marks=pytest.mark.thorough)],
    ids=["bigram now", "bigram", "gpt", "epochs"],
)
def test_a_fork_with_nothing_changed_is_its_parent_for_1000_steps(manager: RunManager, go, config, step) -> None:
    parent = manager.prepare(config, SETTINGS)
    go(parent, 300)
    parent.tune(changed(parent.settings, lr=0.0123456789, batch_size=5))
    go(parent, 350)
    parent.tune(changed(parent.settings, weight_decay=0.123456789))
    go(parent, 600)
    fork = manager.fork(step)
    at = 600 if step is None else step
    assert (fork.step, fork.settings, manager.previous) == (at, parent.settings, parent)
    go(fork, at + 1000)
    assert manager.undo() is parent
    go(parent, at + 1000)
    assert losses(fork) == losses(parent)
    assert same(fork, parent)


def test_knobs_turned_inside_a_step_are_turned_there_again(manager: RunManager, go, wait_until) -> None:
    parent = manager.prepare(GPT, SETTINGS)
    go(parent, 20)
    for stages, change in ((1, {"batch_size": 7}), (4, {"lr": 0.5}), (7, {"batch_size": 3})):
        while parent.stage != stages:
            parent.make_stage()
            parent.paused_state()
        parent.tune(changed(parent.settings, **change))
    while parent.stage:
        parent.make_stage()
        parent.paused_state()
    go(parent, 40)
    fork = manager.fork(35)
    go(fork, 60)
    go(parent, 60)
    assert losses(fork) == losses(parent)
    assert same(fork, parent)


def test_a_fork_is_a_run_of_its_own_with_its_parents_history(manager: RunManager, go) -> None:
    parent = manager.prepare(BIGRAM, SETTINGS)
    go(parent, 300)
    fork = manager.fork(250, lr=0.25)
    assert fork.id != parent.id
    go(fork, 260)
    about = json.loads((home() / "runs" / fork.id / "config.json").read_text())
    assert about["parent"] == {"run": parent.id, "step": 250}
    assert losses(fork)[:250] == losses(parent)[:250]
    assert losses(fork)[251:] != losses(parent)[251:260]
    told = [(event.step, event.text) for event in fork.history.events]
    assert (250, "forked at step 250") in told and (250, "lr 0.001 → 0.25") in told
    assert fork.history.series["train/loss"].count == 260
    assert reader.open_run(fork.id).state == "paused"
    assert (parent.state, parent.step, parent.settings.lr) == (State.PAUSED, 300, 0.001)
    # and it is there after a restart
    later = RunManager(manager.library)
    manager.close(30)
    again = later.resume(fork.id)
    again.wait()
    assert (again.step, again.settings.lr) == (260, 0.25)
    later.close(30)


def test_a_running_parent_is_asked_about_and_paused(manager: RunManager, wait_until) -> None:
    parent = manager.start(BIGRAM, SETTINGS)
    wait_until(lambda: parent.step > 100)
    with pytest.raises(RunActive):
        manager.fork()
    for step, changes in ((10**6, {}), (50, {"max_steps": 50})):
        with pytest.raises(InputError, match="not possible"):
            manager.fork(step, replace=True, **changes)
    assert manager.current is parent and parent.state is State.RUNNING, "a fork that is refused stops nothing"
    fork = manager.fork(replace=True)
    assert (parent.state, fork.state, fork.step) == (State.PAUSED, State.PAUSED, parent.step)
    assert same(fork, parent)


def test_a_fork_of_a_fork_finds_snapshots_of_before_it(manager: RunManager, go) -> None:
    first = manager.prepare(BIGRAM, SETTINGS)
    go(first, 450)
    second = manager.fork()
    go(second, 470)
    third = manager.fork(420)
    go(third, 470)
    assert losses(third) == losses(second)


def test_what_cannot_be_forked_is_said(manager: RunManager, go) -> None:
    with pytest.raises(InputError, match="no run to fork"):
        manager.fork()
    run = manager.prepare(BIGRAM, SETTINGS)
    go(run, 60)
    before = set((home() / "runs").iterdir())
    for step, changes, why in (
        (61, {}, "step 61 is not possible; choose one from 0 to 60"),
        (-1, {}, "step -1"),
        (50, {"lr": -1}, "lr -1"),
        (50, {"seed": 1}, "no setting 'seed'"),
        (50, {"max_steps": 50}, "50 iterations are not possible: the fork is at step 50"),
    ):
        with pytest.raises(InputError, match=why):
            manager.fork(step, **changes)
    for step in checkpoint_files.steps(home() / "runs" / run.id / "snapshots"):
        checkpoint_files.at(home() / "runs" / run.id / "snapshots", step).joinpath("manifest.json").unlink()
    with pytest.raises(InputError, match="no snapshot at or before step 50"):
        manager.fork(50)
    with pytest.raises(InputError, match="not diverged"):
        manager.rewind()
    assert set((home() / "runs").iterdir()) == before
    assert manager.current is run and manager.fork().step == 60


def test_settings_at_a_step_are_exact(manager: RunManager, go) -> None:
    run = manager.prepare(BIGRAM, SETTINGS)
    go(run, 30)
    run.tune(changed(run.settings, lr=1 / 3))
    go(run, 40)
    stored = reader.open_run(run.id)
    assert [forks.settings_at(stored, step).lr for step in (29, 30, 40)] == [0.001, 1 / 3, 1 / 3]


def test_a_fork_that_is_closed_on_its_way_keeps_the_knobs_of_where_it_stands(tiny: Corpus) -> None:
    start = take_snapshot(Trainer(BIGRAM, SETTINGS, tiny, lambda _: None))
    turned = changed(SETTINGS, lr=0.5)
    past = ResumePoint("a-fork", start, History(), step=100, turns=((50, 0, turned),), parent=("parent", 100))
    thread = TrainingThread("that is closed")
    run = Run(BIGRAM, SETTINGS, tiny, past, thread)
    run.save_to(RunWriter(home() / "runs" / run.id, {}))
    thread.closing.set()
    thread.train(run.loop)
    assert run.close(30)
    kept, _ = checkpoint_files.newest(home() / "runs" / run.id / "snapshots")
    assert kept is not None and (kept.step, kept.settings) == (0, SETTINGS)


def test_a_fork_on_its_way_from_a_snapshot_says_how_far_it_is(manager: RunManager, go, wait_until, monkeypatch) -> None:
    parent = manager.prepare(BIGRAM, SETTINGS)
    go(parent, 1300)
    assert parent.status().header()["made_again"] is None
    gate, advance = threading.Event(), Trainer.advance

    def held(trainer: Trainer) -> None:
        if trainer.step >= 1250:
            gate.wait(30)
        advance(trainer)

    monkeypatch.setattr(Trainer, "advance", held)
    fork = manager.fork(1290)
    wait_until(lambda: fork.status().header()["made_again"] == {"from": 1200, "at": 1250, "trains_on": False})
    assert (fork.status().state, fork.status().step) == ("paused", 1290)
    fork.start()
    assert fork.status().header()["made_again"]["trains_on"]
    gate.set()
    wait_until(lambda: fork.step > 1300)
    assert fork.status().header()["made_again"] is None


@pytest.mark.parametrize("refused", ["disk", "store"])
def test_a_fork_or_rewind_that_cannot_be_kept_lets_the_run_go_on(
    manager: RunManager, wait_until, monkeypatch, refused: str
) -> None:
    run = manager.prepare(BIGRAM, SETTINGS)
    run.make_steps(200)
    wait_until(lambda: run.step == 200 and run.state is State.PAUSED, 60)
    run.tune(changed(run.settings, lr=1e6, weight_decay=0.0))
    run.start()
    wait_until(lambda: run.trouble and run.step > 600)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if refused == "disk":
        monkeypatch.setattr(forks, "copy_metrics", full)
    else:
        monkeypatch.setattr(RunWriter, "flush", lambda self, timeout=10.0: False)
    for verb in (
        manager.rewind,
        lambda: manager.fork(replace=True),
        lambda: manager.fork_race([{"lr": 0.1}, {}], 100, True),
    ):
        with pytest.raises(InputError):
            verb()
        before = run.step
        wait_until(lambda before=before: run.state is State.RUNNING and run.step > before)
    assert manager.current is run and manager.race is None


def test_a_race_that_cannot_be_made_leaves_no_folder(manager: RunManager, go, monkeypatch) -> None:
    run, create_fork, made = manager.prepare(BIGRAM, SETTINGS), forks.create_fork, []

    def once(*of: object) -> ResumePoint:
        if made:
            raise InputError("the disk is full")
        made.append(create_fork(*of))
        return made[0]

    go(run, 60)
    monkeypatch.setattr(forks, "create_fork", once)
    with pytest.raises(InputError, match="full"):
        manager.fork_race([{"lr": 0.1}, {"lr": 0.2}])
    assert [one.id for one in reader.list_runs()] == [run.id]


def test_two_rewinds_at_once_make_one_fork(manager: RunManager, wait_until) -> None:
    run = manager.prepare(BIGRAM, changed(SETTINGS, lr=1e6, weight_decay=0.0))
    run.start()
    wait_until(lambda: run.trouble and run.step > 300)
    told: list[Run | InputError] = []

    def press() -> None:
        try:
            told.append(manager.rewind())
        except InputError as error:
            told.append(error)

    pressed = [threading.Thread(target=press) for _ in range(2)]
    for thread in pressed:
        thread.start()
    for thread in pressed:
        thread.join()
    (fork,) = [one for one in told if isinstance(one, Run)]
    assert (manager.current, manager.previous) == (fork, run)


def test_a_fork_of_a_run_that_is_done_waits_too(manager: RunManager, go) -> None:
    run = manager.prepare(BIGRAM, changed(SETTINGS, max_steps=100))
    go(run, 100)
    assert run.state is State.DONE
    over = manager.fork()
    over.paused_state()
    manager.flush(over)
    assert (over.state, reader.open_run(over.id).state) == (State.DONE, "done")
    more = manager.fork(max_steps=10**8)
    more.paused_state()
    assert (more.state, more.step) == (State.PAUSED, 100)


def test_steps_made_one_by_one_to_the_end_do_not_set_it_going(manager: RunManager, go) -> None:
    run = manager.prepare(BIGRAM, changed(SETTINGS, max_steps=20))
    go(run, 20)
    run.tune(changed(run.settings, max_steps=10**8))
    run.paused_state()
    assert (run.state, run.step) == (State.PAUSED, 20)


def test_a_fork_from_inside_a_step_has_the_knobs_that_were_turned_there(manager: RunManager, go) -> None:
    run = manager.prepare(BIGRAM, SETTINGS)
    go(run, 50)
    for _ in range(3):
        run.make_stage()
    run.paused_state()
    run.tune(changed(run.settings, lr=0.5, max_steps=50))
    run.paused_state()
    assert (run.state, run.stage) == (State.PAUSED, 3), "what is under way comes to its end first"
    assert manager.fork(max_steps=60).settings.lr == 0.5
