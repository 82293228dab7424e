"""When it goes wrong: a leap is noticed, the numbers of a divergence are those of its steps, and it can be undone."""

from __future__ import annotations

import math
from statistics import median
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.config import OptimizerName, changed
from engine.errors import InputError
from engine.presets import preset
from engine.runs.divergence import (
    REWIND_STEPS,
    USUAL_RATES,
    USUAL_STEPS,
    Divergence,
    find_divergence,
    lower_rate,
    rewind_step,
    trouble_began,
)
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.storage import reader
from engine.stream.history import History
from engine.stream.messages import Event, Observation, Scalars, drain_queue
from engine.stream.series import SeriesPoints
from engine.stream.status import State
from engine.training.loss_monitor import FEWEST, RECENT, SPIKE, SpikeDetector
from pages.views.train.divergence import sentences, spoken

BIGRAM = changed(preset("bigram").config, corpus="tiny", snapshot_every=400)
GPT = changed(preset("gpt-tiny").config, corpus="tiny", block_size=8, n_layer=2, n_embd=8)
SETTINGS = changed(preset("bigram").settings, speed="unlimited", batch_size=8)


@given(st.lists(st.floats(0.1, 20), min_size=1, max_size=300), st.integers(1, 40))
def test_leaps_against_a_naive_count(losses: list[float], every: int) -> None:
    leaps, bar, last, limits = SpikeDetector(), math.inf, None, []
    for step, loss in enumerate(losses, 1):
        leaps.recent.append(loss)
        leapt = bar < loss
        assert leaps.add(step, loss) is (leapt and last is None)
        last = step if leapt else last
        if step % every == 0:
            recent = losses[max(0, step - RECENT) : step]
            bar = SPIKE * median(recent) if len(recent) >= FEWEST else bar
            quiet = last is not None and step - last > RECENT
            assert leaps.update(step) is quiet
            last = None if quiet else last
            limits.append((leaps.limit, bar))
    assert all(one == other for one, other in limits)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_no_leap(bad: float) -> None:
    leaps = SpikeDetector()
    leaps.recent.extend([2.0] * FEWEST + [bad])
    leaps.update(21)
    assert leaps.limit == 6.0
    assert not leaps.add(22, bad) and leaps.add(23, 6.1) and not leaps.add(24, 7.0)


def test_a_leap_is_told_and_the_warning_goes(tiny, make_run, wait_until, monkeypatch) -> None:
    run = make_run(changed(BIGRAM, observe_every=10), changed(SETTINGS, max_steps=400), tiny)
    run.wait()
    loss_of, count, seen = run.loop.trainer.model.loss, iter(range(1, 10_000)), {}

    def loss(logits, targets):
        value = loss_of(logits, targets)
        if not torch.is_grad_enabled():
            return value
        step = next(count)
        seen[step] = run.warning
        return value - value.detach() + (7.0 if step in (200, 201, 230) else 2.0)

    monkeypatch.setattr(run.loop.trainer.model, "loss", loss)
    run.start()
    wait_until(lambda: run.state is State.DONE)
    records = drain_queue(run.queue)
    assert [record for record in records if isinstance(record, Event) and record.name == "leap"] == [
        Event(200, "leap", "loss leaps to 7")
    ]
    told = [step for step, warning in seen.items() if warning]
    assert told == list(range(201, 341)), "until no leap has come for 100 steps and a look is taken"
    assert "3.5 times its recent median of 2" in seen[201]
    looks = {record.step for record in records if isinstance(record, Observation) and "update_ratio" in record.scalars}
    assert set(range(201, 221)) <= looks, "the steps after it are looked at closely"


@pytest.fixture
def diverged(manager: RunManager, wait_until):
    """`diverged(config)`: a run whose learning rate was set to 1e6 at step 500, where it now stands diverged."""

    def diverged(config) -> Run:
        run = manager.prepare(config, SETTINGS)
        run.make_steps(500)
        wait_until(lambda: run.step == 500 and run.state is State.PAUSED, 60)
        run.tune(changed(run.settings, lr=1e6))
        run.start()
        wait_until(lambda: run.state is State.DIVERGED)
        return run

    return diverged


@pytest.mark.parametrize("config", [BIGRAM, GPT], ids=["bigram", "gpt"])
def test_one_call_trains_on_from_before_the_trouble(manager: RunManager, diverged, wait_until, config) -> None:
    run = diverged(config)
    assert all(torch.isfinite(weight).all() for weight in run.paused_state().snapshot.weights.values())
    again = manager.rewind()
    wait_until(lambda: again.step > 800)
    again.pause()
    again.paused_state()
    manager.flush(again)
    assert again.settings.lr == 0.0005 and manager.previous is run
    told = [(event.step, event.name) for event in again.history.events]
    assert (450, "forked") in told and (450, "lr") in told and "diverged" not in dict(told).values()
    # the same as a run made by hand
    alone = manager.prepare(config, SETTINGS, replace=True)
    for step, lr in ((450, 0.001), (again.step, 0.0005)):
        alone.tune(changed(alone.settings, lr=lr))
        alone.make_steps(step - alone.step)
        wait_until(lambda step=step: alone.step == step and alone.state is State.PAUSED, 60)
    manager.flush(alone)
    one, other = (list(reader.scalars(reader.open_run(each.id))) for each in (again, alone))
    assert [(row.step, row.loss, row.lr) for row in one] == [(row.step, row.loss, row.lr) for row in other]
    mine, its = again.paused_state().snapshot, alone.paused_state().snapshot
    assert all(torch.equal(mine.weights[name], its.weights[name]) for name in its.weights)


def test_iterations_that_were_raised_stay_raised(manager: RunManager, wait_until) -> None:
    run = manager.start(BIGRAM, changed(SETTINGS, max_steps=200))
    wait_until(lambda: run.state is State.DONE)
    run.tune(changed(run.settings, lr=1e6, speed=1000))
    run.tune(changed(run.settings, max_steps=10_000))
    wait_until(lambda: run.state is State.DIVERGED)
    again = manager.rewind()
    wait_until(lambda: again.step > 250)
    assert (again.settings.max_steps, again.settings.speed, again.settings.lr) == (10_000, 1000, 0.0005)


@pytest.mark.parametrize("config", [BIGRAM, GPT], ids=["bigram", "gpt"])
def test_what_happened_in_numbers(manager: RunManager, diverged, config) -> None:
    run = diverged(config)
    manager.flush(run)
    rows = {row.step: row for row in reader.scalars(reader.open_run(run.id))}
    told = find_divergence(run.history, run.layers, run.step)
    finite = [(step, pytest.approx(row.loss)) for step, row in rows.items() if math.isfinite(row.loss)]
    assert list(told.losses) == finite[-5:]
    assert told.usual_loss == pytest.approx(
        median(rows[step].loss for step in range(run.step - 150, run.step - 49)), 0.1
    )
    assert told.grad_norm is not None
    largest = max(row.grad_norm for row in rows.values() if row.step > run.step - 50 and math.isfinite(row.grad_norm))
    assert told.grad_norm[1] == pytest.approx(largest)
    assert [event.text for event in told.turned] == ["lr 0.001 → 1e+06"]
    assert told.update is not None and told.update[2] > 1 and told.update[1] in run.layers
    assert told.first is not None and 500 < told.first[0] <= run.step + 1 and told.first[1] in run.layers
    assert told.fault is not None and "not finite" in told.fault
    assert rewind_step(run.history, run.step) == 450


def test_the_layer_that_left_first() -> None:
    history = History()
    history.add([Scalars(step, 2.0, 0.1, 1e-3, 0.0) for step in range(1, 301)])
    for step in (100, 200, 280, 281, 282):
        a, b = (9.0, 1.0) if step == 282 else (1.0, 4.0 if step == 281 else 1.0)
        history.add([Observation(step, {"update_ratio/a": a, "update_ratio/b": b, "grad_norm/a": 1.0}, {})])
    history.add([Event(260, "speed", "speed"), Event(240, "lr", "lr"), Event(301, "not finite", "gradient of a")])
    told = find_divergence(history, ("a", "b"), 300)
    assert told.first == (281, "b", "update", 4.0)
    assert told.update == (282, "a", 9.0)
    assert (told.fault, told.turned) == ("gradient of a", ())
    assert rewind_step(history, 300) == 250, "the speed is no trouble, and the rate was turned long before"
    assert rewind_step(history, 280) == 190
    assert rewind_step(history, 30) == 0
    assert find_divergence(History(), (), 1).first is None


def test_the_trouble_began_where_the_loss_rose_to_stay() -> None:
    history = History()
    high = {1, 2, 700, *range(3000, 9001)} - {5000, 8990}
    history.add([Scalars(step, 1e6 if step in high else 2.0, 0.1, 1e-3, 0.0) for step in range(1, 9001)])
    turns = [(2900, "weight_decay"), (2999, "lr"), (8980, "weight_decay")]
    history.add([Event(step, name, name) for step, name in turns])
    history.add(
        [Observation(step, {"update_ratio/a": 9.0 if step == 3001 else 0.1}, {}) for step in (2950, 3001, 8900)]
    )
    assert rewind_step(history, 9000, 40.0) == 2949, "before the rate was turned; what was turned later is no cause"
    told = find_divergence(history, ("a",), 9000, 40.0)
    assert (told.trouble, told.usual_loss, told.update) == (3000, 2.0, (3001, "a", 9.0))
    assert [step for step, _ in told.losses] == list(range(8996, 9001))
    assert [event.step for event in told.turned] == [2999, 8980]
    assert rewind_step(history, 720, 40.0) == 650, "one loss is enough, if it is a moment ago"
    assert rewind_step(history, 800, 40.0) == 750
    assert rewind_step(history, 2, 40.0) == 0


def test_a_valley_of_a_thinned_loss_does_not_end_the_trouble() -> None:
    history = History()
    steps = np.arange(0, 9001, 100, dtype=np.uint32)
    high = (steps > 3000) & (steps != 6000)  # one step of 6,000 was low by chance; those before it were not
    values = np.where(high, 1e6, 2.0).astype(np.float32)
    means = np.where(steps > 3000, 1e6, 2.0).astype(np.float32)
    history.add_points("train/loss", SeriesPoints(steps, values, means))
    assert rewind_step(history, 9000, 40.0) == 3050


@given(
    st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=200), st.integers(0, 100), st.booleans()
)
def test_the_beginning_of_trouble_against_a_walk_backwards(told, after: int, finite: bool) -> None:
    steps = np.cumsum([gap for gap, _ in told])
    high = {int(step) for step, (_, is_high) in zip(steps, told, strict=True) if is_high}
    history, last = History(), int(steps[-1]) + after
    history.add([Scalars(int(step), 1e6 if step in high else 2.0, 0.1, 1e-3, 0.0) for step in steps])
    trouble = last
    for step in reversed(steps.tolist()):
        if step in high and finite:
            trouble = step
        elif trouble - step > REWIND_STEPS:
            break
    assert trouble_began(history, last, 40.0 if finite else math.inf) == trouble


def test_what_was_usual_before_a_long_trouble_is_what_it_was() -> None:
    draws, history, begins = np.random.default_rng(0), History(), 1000
    norms = draws.gamma(2.0, 0.5, 300_000).tolist()
    history.add([Scalars(step, 2.0 if step < begins else 1e6, norm, 1e-3, 0.0) for step, norm in enumerate(norms, 1)])
    told = find_divergence(history, (), len(norms), 40.0)
    since = begins - REWIND_STEPS
    assert told.trouble == begins and told.grad_norm == (norms.index(top := max(norms[since:])) + 1, pytest.approx(top))
    assert told.usual_norm == pytest.approx(median(norms[since - USUAL_STEPS - 1 : since]), rel=1e-6)


def test_an_update_measured_before_the_knob_was_turned_says_so() -> None:
    turned = (Event(100, "weight_decay", "weight_decay 0 → 0.01"),)
    for step, said in ((90, True), (100, True), (101, False)):
        told = Divergence(107, ((106, 1e19),), 8029454.0, None, None, (step, "a", 1933.4), None, None, turned)
        early = ", before a knob was turned" if said else ""
        assert f"In step {step}{early}, one update moved a by 1,900 times its own size." in sentences(told)
        assert "In step 106 the loss was 1.0·10¹⁹; it had been about 8.03 million." in sentences(told)


@pytest.mark.parametrize(
    ("lr", "step", "config", "lower"),
    [
        (0.003, 0, BIGRAM, 0.0015),
        (0.003, 450, BIGRAM, 0.0015),
        (0.001, 0, BIGRAM, 0.0005),
        (0.01, 0, BIGRAM, 0.005),
        (1e6, 0, BIGRAM, 0.001),
        (10.0, 0, BIGRAM, 0.001),
        (1e6, 450, BIGRAM, 5e5),
        (1e6, 0, GPT, preset("gpt-tiny").settings.lr),
        (1e6, 0, changed(BIGRAM, optimizer="sgd"), 0.1),
        (1.0, 0, changed(BIGRAM, optimizer="sgd"), 0.5),
        (30.0, 120, changed(BIGRAM, optimizer="sgd"), 15.0),
        (100.0, 0, preset("document-002-line").config, 0.05),
    ],
)
def test_the_rate_to_start_again_with(lr: float, step: int, config, lower: float) -> None:
    assert lower_rate(lr, step, config) == pytest.approx(lower)


def test_every_optimizer_has_a_usual_rate() -> None:
    assert set(USUAL_RATES) == set(get_args(OptimizerName))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0005, "0.0005"),
        (0.0015, "0.0015"),
        (2.3456, "2.35"),
        (41.73, "41.7"),
        (590_169.0, "590,000"),
        (1e6, "1 million"),
        (9.21e8, "921 million"),
        (4.01e9, "4.01 billion"),
        (3.3e13, "33 trillion"),
        (1.424e34, "1.4·10³⁴"),
        (0.0, "0"),
    ],
)
def test_numbers_as_a_learner_reads_them(value: float, said: str) -> None:
    assert spoken(value) == said


def test_the_turns_of_the_rate_are_told_from_what_it_was_to_what(manager: RunManager, diverged) -> None:
    run = diverged(BIGRAM)
    manager.flush(run)
    told = find_divergence(run.history, run.layers, run.step)
    assert told.rates == ((500, pytest.approx(1e-3), pytest.approx(1e6)),)
    assert "After step 500 the learning rate was raised from 0.001 to 1 million." in sentences(told)
    assert not [sentence for sentence in sentences(told) if not sentence.endswith(".")], "whole sentences"


@pytest.mark.parametrize("diverges", [False, True], ids=["absurd", "diverged"])
def test_out_of_an_absurd_loss_with_one_call(manager: RunManager, wait_until, diverges: bool) -> None:
    run = manager.prepare(BIGRAM, SETTINGS)
    run.make_steps(500)
    wait_until(lambda: run.step == 500 and run.state is State.PAUSED, 60)
    with pytest.raises(InputError, match="not diverged"):
        manager.rewind()
    run.tune(changed(run.settings, lr=1e6, weight_decay=0.0))
    run.start()
    wait_until(lambda: run.trouble and run.step > 1500)
    if diverges:
        run.tune(changed(run.settings, weight_decay=0.1))
        wait_until(lambda: run.state is State.DIVERGED)
        manager.flush(run)
        looks = [step for step in _looks(run) if run.step - 10 < step <= run.step]
        assert looks, "what a leap out of an absurd loss does is measured too"
    again = manager.rewind()
    wait_until(lambda: again.step > 600)
    assert (again.settings.lr, again.settings.weight_decay, again.trouble) == (0.0005, 0.01, False)
    assert (450, "forked at step 450") in [(event.step, event.text) for event in again.history.events]
    assert manager.previous is run and run.state is (State.DIVERGED if diverges else State.PAUSED)


def _looks(run: Run) -> list[int]:
    found = reader.observations(reader.open_run(run.id))
    return [record.step for record in found if "update_ratio/token_embedding" in record.scalars]
