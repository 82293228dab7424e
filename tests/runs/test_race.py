"""Lanes of a race equal the same runs trained alone, bit for bit; all that still train stand at the same step."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from engine.config import changed
from engine.errors import InputError
from engine.paths import home
from engine.presets import preset
from engine.runs.manager import RunActive, RunManager
from engine.runs.races.loss_comparator import LossComparator
from engine.runs.races.race import Race
from engine.runs.run import Run
from engine.storage import notes, reader
from engine.stream.history import SNAPSHOT_BYTES
from engine.stream.messages import Observation
from engine.stream.status import State
from engine.training.trainer import Trainer

BIGRAM = changed(preset("bigram").config, corpus="tiny", snapshot_every=100)
GPT = changed(preset("gpt-tiny").config, corpus="tiny", block_size=8, dropout=0.2)
SETTINGS = changed(preset("bigram").settings, speed="unlimited", batch_size=4, max_steps=300)
READY_MADE = [{"lr": lr} for lr in (3e-4, 1e-2, 1.0, 10.0)]


def losses(run: Run, first: int = 1) -> list[tuple[int, float]]:
    """Step and loss of every step from `first` on, as they lie on the disk; none is equal to itself."""
    told = [(row.step, row.loss) for row in reader.scalars(reader.open_run(run.id)) if row.step >= first]
    return [(step, -1.0 if math.isnan(loss) else loss) for step, loss in told]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return run.copy_weights()[1]


@pytest.fixture
def end(manager: RunManager, wait_until):
    """Wait until a race, or a run, is over, and have everything on the disk."""

    def end(one: Race | Run) -> None:
        wait_until(lambda: one.state in (State.DONE, State.DIVERGED, State.FAILED), 120)
        for run in one.lanes if isinstance(one, Race) else [one]:
            manager.flush(run)

    return end


@pytest.mark.parametrize(
    ("config", "steps", "changes"),
    [
        (BIGRAM, 300, [*READY_MADE[:3], {"batch_size": 7, "weight_decay": 0.5}]),
        (BIGRAM, 300, [{"grad_clip": 0.05}, {"optimizer": "sgd", "lr": 0.5}]),
        (GPT, 30, [{}, {"lr": 0.01}]),
    ],
    ids=["bigram", "clip and optimizer", "gpt with dropout"],
)
def test_lanes_equal_the_same_runs_alone(manager: RunManager, end, config, steps, changes) -> None:
    settings = changed(SETTINGS, max_steps=steps)
    race = manager.start_race(config, settings, changes)
    end(race)
    assert [lane.step for lane in race.lanes] == [steps] * len(changes)
    for lane, change in zip(race.lanes, changes, strict=True):
        own = changed(config, optimizer=change.get("optimizer", config.optimizer))
        knobs = {name: value for name, value in change.items() if name != "optimizer"}
        alone = manager.start(own, changed(settings, **knobs), replace=True)
        end(alone)
        assert len(losses(lane)) == steps
        assert losses(lane) == losses(alone)
        mine, its = weights(lane), weights(alone)
        assert all(torch.equal(mine[name], its[name]) for name in its)


def test_lanes_from_a_fork_point_equal_forks_alone(manager: RunManager, end, wait_until) -> None:
    parent = manager.start(BIGRAM, SETTINGS)
    end(parent)
    race = manager.fork_race([{}, {"lr": 0.1}, {"weight_decay": 0.3}], 250, max_steps=400)
    assert manager.current is parent and all(lane.parent == (parent.id, 250) for lane in race.lanes)
    end(race)
    for lane, change in zip(race.lanes, [{}, {"lr": 0.1}, {"weight_decay": 0.3}], strict=True):
        fork = manager.fork(250, max_steps=400, **change)
        manager.current.start()
        end(fork)
        assert len(losses(lane)) == 400 and losses(lane) == losses(fork)
        manager.undo()
    assert losses(race.lanes[0])[:300] == losses(parent)
    assert race.records.first_difference == 252, "the first update that differs is made in step 251"
    before, *_ = race.history.points_between("train/loss/before", 0, None)
    first, *_ = race.history.points_between("train/loss/1", 0, None)
    assert (before[0], before[-1], first[0]) == (1, 250, 251)


def test_a_lane_that_diverges_stops_alone(manager: RunManager, end) -> None:
    race = manager.start_race(GPT, changed(SETTINGS, max_steps=60), [{"lr": 1e6}, {"lr": 0.001}, {"lr": 0.01}])
    end(race)
    states = [(lane.state, lane.step) for lane in race.lanes]
    assert states[0][0] is State.DIVERGED and states[0][1] < 60
    assert states[1:] == [(State.DONE, 60)] * 2 and race.state is State.DONE
    header = race.status().header()
    assert header["state"] == "done" and header["warning"].startswith("lr 1e+06: diverged at step")
    assert "lr 1e+06: diverged" in "\n".join(event.text for event in race.history.events)
    assert race.history.tables["weights/token_embedding"].shape == (3 * race.dataset.vocab_size, 32)
    assert torch.isfinite(weights(race.lanes[0])["token_embedding.weight"]).all()


def test_a_lane_that_fails_stops_alone(manager: RunManager, end, wait_until, monkeypatch: pytest.MonkeyPatch) -> None:
    race = manager.start_race(BIGRAM, SETTINGS, [{"lr": 0.1}, {"lr": 0.2}], steps=5)
    wait_until(lambda: race.state is State.PAUSED)

    def break_down() -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(race.lanes[0].loop.trainer, "advance", break_down)
    race.start()
    end(race)
    assert [lane.state for lane in race.lanes] == [State.FAILED, State.DONE]
    assert "no such luck" in race.status().error and "no such luck" in race.status().warning


def test_all_lanes_stand_at_the_same_step(manager: RunManager, wait_until) -> None:
    race = manager.start_race(BIGRAM, changed(SETTINGS, max_steps=100_000), READY_MADE)
    for _ in range(5):
        at = race.step
        wait_until(lambda at=at: race.step > at + 20)
        race.pause()
        wait_until(lambda: race.state is State.PAUSED)
        assert len({lane.step for lane in race.lanes}) == 1
        race.make_steps(3)
        wait_until(lambda: {(lane.step, lane.state) for lane in race.lanes} == {(race.step, State.PAUSED)})
        race.start()
        wait_until(lambda: race.state is State.RUNNING)
    race.tune(speed=10)
    race.tune(max_steps=race.step + 30, speed="unlimited")
    wait_until(lambda: race.state is State.DONE)
    assert len({lane.step for lane in race.lanes}) == 1
    race.tune(max_steps=race.step + 10)
    wait_until(lambda: {lane.state for lane in race.lanes} == {State.DONE} and race.step == race.settings.max_steps)
    assert len({lane.step for lane in race.lanes}) == 1 and race.version == 3
    race.stop()


@pytest.mark.parametrize(
    ("change", "step"), [({"lr": 0.1}, 2), ({"batch_size": 5}, 1), ({}, None)], ids=["rate", "batch", "same"]
)
def test_the_first_step_that_differs_is_found(manager: RunManager, end, change, step) -> None:
    race = manager.start_race(BIGRAM, changed(SETTINGS, max_steps=50), [{}, change])
    end(race)
    assert race.records.first_difference == step
    marks = [event for event in race.history.events if event.name == "parted"]
    assert [event.step for event in marks] == ([] if step is None else [step])
    one, other = (losses(lane) for lane in race.lanes)
    assert next((n for (n, mine), (_, its) in zip(one, other, strict=True) if mine != its), None) == step


def test_parting_is_exact_however_the_losses_come() -> None:
    comparator = LossComparator(3)
    assert comparator.add(1, [(1, 4.0), (2, 3.0)]) == []
    assert comparator.add(0, [(1, 4.0), (2, 3.0), (3, 2.0)]) == []
    assert comparator.add(2, [(1, 4.0)]) == []
    assert comparator.add(1, [(3, math.nextafter(2.0, 3))]) == []
    assert comparator.add(2, [(2, 3.5)]) == [(2, 2), (1, 3)], "lane 1 waited for lane 2"
    assert comparator.differs_at == [None, 3, 2]
    diverging = LossComparator(3)
    diverging.add(0, [(1, 4.0), (2, math.nan)])
    diverging.add(1, [(1, 4.0), (2, math.nan)])
    assert diverging.end_lane(2) == [] and diverging.differs_at == [None, None, None], "none is equal to none"


def test_each_lane_is_a_stored_run_with_a_name(manager: RunManager, end) -> None:
    race = manager.start_race(BIGRAM, SETTINGS, [{"lr": 0.01}, {"grad_clip": None, "batch_size": 1000}, {"lr": 0.01}])
    assert race.names == ("lr 0.01", "grad_clip off, batch_size 1,000", "lr 0.01 (2)")
    end(race)
    named = [notes.read(home() / "runs" / lane.id).name for lane in race.lanes]
    assert named == list(race.names)
    assert all(reader.open_run(lane.id).state == "done" for lane in race.lanes)
    second = manager.start_race(BIGRAM, SETTINGS, READY_MADE[:2])
    assert manager.race is second and not race.lanes[0]._thread.is_alive(), "an old race lets go"
    end(second)
    run = manager.resume(race.lanes[1].id, replace=True)
    run.wait()
    assert (run.step, run.settings.batch_size) == (300, 1000)
    again = manager.resume(second.lanes[0].id, replace=True)
    again.wait()
    assert (again.step, second.closed, manager.race) == (300, True, second), (
        "a lane of a race that is over goes on alone"
    )
    third = manager.start_race(BIGRAM, changed(SETTINGS, max_steps=10**6), READY_MADE[:2], replace=True)
    with pytest.raises(InputError, match="stop the race first"):
        manager.resume(third.lanes[0].id, replace=True)


def test_whoever_trains_is_asked_about(manager: RunManager, wait_until) -> None:
    endless = changed(SETTINGS, max_steps=1_000_000)
    run = manager.start(BIGRAM, endless)
    with pytest.raises(RunActive, match="bigram on tiny is"):
        manager.start_race(BIGRAM, endless, READY_MADE[:2])
    race = manager.start_race(BIGRAM, endless, READY_MADE[:2], replace=True)
    wait_until(lambda: run.state is State.PAUSED and race.step > 3)
    assert manager.current is run
    for again in (
        lambda: manager.start_race(BIGRAM, endless, READY_MADE[:2]),
        lambda: manager.start(BIGRAM, endless, replace=False),
    ):
        with pytest.raises(RunActive):
            again()
    assert manager.race is race
    other = manager.start(BIGRAM, endless, replace=True)
    wait_until(lambda: race.state is State.PAUSED and other.step > 3)
    assert manager.estimate(BIGRAM, endless) is None


def test_what_cannot_race_is_said(manager: RunManager) -> None:
    for changes, why in (
        ([{}], "1 lanes are not possible; choose 2 to 8"),
        ([{}] * 9, "9 lanes"),
        ([{}, {"seed": 1}], "lanes cannot differ in 'seed'; choose among lr"),
        ([{}, {"lr": -1}], "lr -1 is not possible"),
        ([{}, {"optimizer": "adam"}], "optimizer 'adam' is not possible"),
    ):
        with pytest.raises(InputError, match=why):
            manager.start_race(BIGRAM, SETTINGS, changes)
    with pytest.raises(InputError, match="no run to fork"):
        manager.fork_race(READY_MADE)
    run = manager.prepare(BIGRAM, SETTINGS)
    run.wait()
    with pytest.raises(InputError, match="race from step 0"):
        manager.fork_race([{}, {"optimizer": "sgd"}])
    with pytest.raises(InputError, match="step 7 is not possible"):
        manager.fork_race(READY_MADE, 7)
    assert manager.race is None


def test_watching_a_race_costs_no_more_than_a_run(manager: RunManager, end) -> None:
    race = manager.start_race(BIGRAM, SETTINGS, READY_MADE)
    end(race)
    frame = race.history.snapshot(race.status().header())
    assert len(frame.encode()) <= SNAPSHOT_BYTES + 6000
    assert {name for name, _ in frame.arrays} == {f"train/loss/{n}" for n in (1, 2, 3, 4)} | {"weights/token_embedding"}
    assert {sample["lane"] for sample in frame.header["samples"]} == {1, 2, 3, 4}
    texts = [event["text"] for event in frame.header["events"]]
    assert texts.count("started") == texts.count("done at step 300") == texts.count("losses part") == 1
    assert len(race.history.tables["weights/token_embedding"]) == 4 * race.dataset.vocab_size
    assert len(race.records._tables) <= 1, "tables that wait for those of other lanes are let go"
    assert manager.source("race") is race and manager.source(race.id) is race and manager.source("nobody") is None
    manager.close(30)
    assert not race.lanes[0]._thread.is_alive()


def test_a_lane_that_goes_on_alone_is_no_part_of_the_race(manager: RunManager, end, wait_until) -> None:
    race = manager.start_race(BIGRAM, SETTINGS, [{"lr": 0.01}, {"lr": 0.1}])
    end(race)
    heard = race.history.series["train/loss/1"].count
    assert heard == 300
    run = manager.resume(race.lanes[0].id)
    assert [source for source in manager.sources() if source.id == run.id] == [run], "who follows it sees it alone"
    run.tune(changed(run.settings, max_steps=400))
    wait_until(lambda: run.step == 400 and run.state is State.DONE)  # it is done at 300 too
    manager.pump.drain()
    assert run.history.series["train/loss"].count == 400
    assert race.history.series["train/loss/1"].count == heard


def test_a_race_that_is_replaced_at_once_lets_the_next_one_begin(
    manager: RunManager, wait_until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another session replaces the race that is begun here, while the one before it is still being ended."""
    endless = changed(SETTINGS, max_steps=1_000_000)
    ending, begun = manager._end_race, []

    def end_slowly(race: Race) -> None:
        monkeypatch.setattr(manager, "_end_race", ending)
        begun.append(manager.start_race(BIGRAM, endless, READY_MADE[:2], replace=True))
        ending(race)

    manager.start_race(BIGRAM, endless, READY_MADE[:2])
    monkeypatch.setattr(manager, "_end_race", end_slowly)
    second = manager.start_race(BIGRAM, endless, READY_MADE[:2], replace=True)
    assert second.closed and manager.race is begun[0]
    wait_until(lambda: begun[0].step > 10)
    begun[0].stop()


def test_a_state_that_changes_while_it_is_asked_for_is_one_of_the_two() -> None:
    class Starting:
        told = iter([State.PAUSED] + 20 * [State.RUNNING])
        state = property(lambda self: next(self.told))

    race = Race.__new__(Race)
    race.lanes = (Starting(),)  # type: ignore[assignment]
    assert race.state in (State.PAUSED, State.RUNNING)


def test_what_waits_for_other_lanes_is_bounded(manager: RunManager, wait_until) -> None:
    comparator = LossComparator(3)
    for step in range(1, 1001):
        comparator.add(0, [(step, 1.0)])
        comparator.add(1, [(step, 2.0)])
        comparator.add(2, [(step, 1.0)])
    assert comparator.differs_at == [None, 1, None] and not any(comparator._waiting), (
        "a lane that has parted is not kept"
    )
    race = manager.start_race(BIGRAM, SETTINGS, READY_MADE[:2], steps=1)
    wait_until(lambda: race.state is State.PAUSED)
    manager.pump.drain()  # from here on the pump adds nothing, so that this test may
    looks = [Observation(step, {}, {"weights/new": np.ones((2, 3), np.float32)}) for step in range(2, 1002)]
    race.records.add(race.lanes[0].id, looks)
    assert sum(name == "weights/new" for name, _ in race.records._tables) <= 32, (
        "a lane that has no model has no tables"
    )
    race.records.add(race.lanes[1].id, looks)
    assert race.history.tables["weights/new"].shape == (4, 3)


def test_a_fork_race_that_makes_its_way_again_says_that_it_trains_on(
    manager: RunManager, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = manager.prepare(BIGRAM, changed(SETTINGS, max_steps=10**6))
    parent.make_steps(300)
    wait_until(lambda: parent.step == 300 and parent.state is State.PAUSED)
    gate, advance = threading.Event(), Trainer.advance

    def held(trainer: Trainer) -> None:
        if trainer.step >= 280:
            gate.wait(60)
        advance(trainer)

    monkeypatch.setattr(Trainer, "advance", held)
    race = manager.fork_race([{}, {"lr": 0.1}], 290, max_steps=320)

    def again() -> Any:
        return race.status().header()["made_again"]

    wait_until(lambda: again() is not None and again()["at"] == 280)
    assert again()["trains_on"], "it was started: it goes on when it is there"
    race.pause()
    assert not again()["trains_on"]
    race.start()
    assert again()["trains_on"]
    gate.set()
    wait_until(lambda: race.state is State.DONE)
    assert again() is None
