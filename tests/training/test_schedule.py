"""Schedules held against torch's own and against nanoGPT's formula, and what follows a change on the way."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.config import LiveSettings, RunConfig, changed
from engine.errors import InputError
from engine.stream.messages import Record, Scalars
from engine.text.corpus import Corpus
from engine.training.checkpoint import Snapshot
from engine.training.schedule import rate_at
from engine.training.state import restore, take_snapshot
from engine.training.trainer import Trainer

STEPS = 60
PLAN = LiveSettings(lr=0.01, max_steps=STEPS, schedule="cosine", warmup_steps=10, final_share=0.1)


def nanogpt(iteration: int, peak: float, least: float, warmup: int, last: int) -> float:
    """The rate of an iteration, counted from 0, as in nanoGPT (train.py, get_lr)."""
    if iteration < warmup:
        return peak * (iteration + 1) / (warmup + 1)
    if iteration > last:
        return least
    done = (iteration - warmup) / (last - warmup)
    return least + 0.5 * (1.0 + math.cos(math.pi * done)) * (peak - least)


@pytest.mark.parametrize(("warmup", "last"), [(0, 50), (10, 50), (100, 2000)])
def test_cosine_with_warm_up_is_that_of_nanogpt(warmup: int, last: int) -> None:
    plan = LiveSettings(lr=1e-3, max_steps=last, schedule="cosine", warmup_steps=warmup, final_share=0.1)
    for step in range(1, last + 1):
        assert rate_at(plan, step) == pytest.approx(nanogpt(step - 1, 1e-3, 1e-4, warmup, last), rel=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
@pytest.mark.parametrize("last", [1, 2, 50])
def test_no_step_has_a_rate_of_zero_and_after_the_last_one_it_stays(schedule: str, last: int) -> None:
    plan = changed(LiveSettings(), schedule=schedule, warmup_steps=3, final_share=0.0, max_steps=last)
    assert min(rate_at(plan, step) for step in range(1, last + 5)) > 0
    assert rate_at(plan, last + 4) == rate_at(plan, last)


def test_linear_is_a_plateau_and_torchs_linear_decay() -> None:
    plan = LiveSettings(lr=0.5, max_steps=100, schedule="linear", decay_share=0.4, final_share=0.2)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.2, 40)
    expected = [0.5] * 60
    for _ in range(40):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        falling.step()
    assert [rate_at(plan, step) for step in range(1, 101)] == pytest.approx(expected, rel=1e-9)


@given(
    schedule=st.sampled_from(["constant", "cosine", "linear"]),
    warmup=st.integers(0, 300),
    last=st.integers(1, 400),
    final=st.floats(0, 1),
    share=st.floats(0.01, 1),
)
def test_a_rate_climbs_stays_and_falls_between_its_bounds(
    schedule: str, warmup: int, last: int, final: float, share: float
) -> None:
    plan = changed(
        LiveSettings(lr=2.0, max_steps=last),
        schedule=schedule,
        warmup_steps=warmup,
        final_share=final,
        decay_share=share,
    )
    planned = [rate_at(plan, step) for step in range(1, last + 1)]
    assert all(0 < rate <= 2.0 or final == 0 for rate in planned)
    assert all(after > before for before, after in pairwise(planned[:warmup]))
    assert all(after <= before + 1e-12 for before, after in pairwise(planned[warmup:]))
    assert min(planned[warmup:], default=2.0) >= final * 2.0 - 1e-12


def trained(
    corpus: Corpus, until: int, turns: dict[int, LiveSettings], start: Snapshot | None = None
) -> tuple[list[Scalars], Trainer]:
    """The records of a small GPT up to step `until`, its knobs turned after these steps."""
    config = RunConfig(model="gpt", n_layer=1, n_head=2, n_embd=16, block_size=8, eval_every=10_000)
    records: list[Record] = []
    trainer = Trainer(config, PLAN, corpus, records.append)
    if start is not None:
        restore(trainer, start)
    while trainer.step < until:
        if trainer.step in turns:
            trainer.tune(turns[trainer.step])
        trainer.advance()
    return [record for record in records if isinstance(record, Scalars)], trainer


@pytest.mark.parametrize("halt", [5, 30, 45])
def test_a_run_goes_on_exactly_from_within_warm_up_and_decay_with_knobs_turned_on_the_way(
    corpus: Corpus, halt: int
) -> None:
    turns = {8: changed(PLAN, lr=0.02), 35: changed(PLAN, lr=0.02, max_steps=80)}
    whole, _ = trained(corpus, STEPS, turns)
    _, stopped = trained(corpus, halt, turns)
    rest, _ = trained(corpus, STEPS, turns, take_snapshot(stopped))
    assert [(one.step, one.loss, one.lr) for one in rest] == [(one.step, one.loss, one.lr) for one in whole[halt:]]
    for record in whole:
        peak, last = 0.02 if record.step > 8 else 0.01, 80 if record.step > 35 else STEPS
        assert record.lr == pytest.approx(nanogpt(record.step - 1, peak, 0.1 * peak, 10, last), rel=1e-12)


def test_more_parts_than_windows_are_refused() -> None:
    with pytest.raises(InputError, match="micro_batches 9 is more than the 8 windows of a batch; choose at most 8"):
        changed(LiveSettings(), batch_size=8, micro_batches=9)
