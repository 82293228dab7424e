"""Bets that are trained: many bigrams at once equal the same bigrams trained alone, and their losses make the U."""

from __future__ import annotations

import math
import time

import pytest
import torch

from engine.config import LiveSettings, RunConfig, changed
from engine.errors import InputError
from engine.presets import preset
from engine.progress import Cancelled, Jobs
from engine.sweeps.bigram_lanes import MOST_LANES, MOST_TOKENS, BigramLanes, PairLoss
from engine.sweeps.sweep import KNOBS, RunningSweep, Sweep, best_point, read_values, spaced_values
from engine.text.corpus import Corpus
from engine.training.evaluation import split_loss
from engine.training.trainer import Trainer

CONFIG, SETTINGS = preset("bigram").config, preset("bigram").settings


def trained_alone(config: RunConfig, settings: LiveSettings, corpus: Corpus, steps: int) -> Trainer:
    trainer = Trainer(config, settings, corpus, lambda record: None)
    while trainer.step < steps and not trainer.recorder.diverged:
        trainer.advance()
    trainer.settle()
    return trainer


def lanes_after(config: RunConfig, settings: list[LiveSettings], corpus: Corpus, steps: int) -> BigramLanes:
    lanes = BigramLanes(config, settings, corpus)
    for _ in range(steps):
        lanes.advance()
    return lanes


RATES = [float(f"{10 ** (-4 + place / 8):.3g}") for place in range(40)]  # 1e-4 to about 7.5


def test_three_of_forty_bets_equal_the_same_bigrams_trained_alone(corpus: Corpus) -> None:
    """Their tables bit for bit, and the loss of the last batch to one part in a million."""
    steps = 60
    lanes = lanes_after(CONFIG, [changed(SETTINGS, lr=lr) for lr in RATES], corpus, steps)
    for lane in (0, 17, 39):
        alone = trained_alone(CONFIG, changed(SETTINGS, lr=RATES[lane]), corpus, steps)
        assert torch.equal(lanes.tables[lane], alone.parameters[0])
        assert lanes.losses[lane].item() == pytest.approx(alone.loss.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        ({}, {"batch_size": 7}),
        ({"block_size": 5, "seed": 3}, {"weight_decay": 0.5}),
        ({"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-4}, {}),
        ({}, {"grad_clip": 0.05}),
        ({}, {"schedule": "cosine", "warmup_steps": 5, "max_steps": 30}),
        ({}, {"schedule": "linear", "max_steps": 30}),
        ({"first_weights": "zeros"}, {}),
        ({"draws": "lecture"}, {}),
        ({"draws": "document-003"}, {}),
        ({"epochs": 2}, {"batch_size": 4}),
        ({"val_fraction": 0.0, "decays": "matrices"}, {}),
    ],
    ids=str,
)
def test_any_setting_of_a_bigram_is_trained_as_its_run_would_be(tiny: Corpus, config: dict, settings: dict) -> None:
    """Batches of a power of two equal bit for bit; others divide by a number that is rounded."""
    one, base = changed(CONFIG, **config), changed(SETTINGS, **settings)
    knobs = [changed(base, lr=lr, weight_decay=decay) for lr, decay in ((1e-3, 0.0), (0.1, 0.01), (2.0, 0.3))]
    lanes = lanes_after(one, knobs, tiny, 30)
    for lane, own in enumerate(knobs):
        alone = trained_alone(one, own, tiny, 30)
        torch.testing.assert_close(lanes.tables[lane], alone.parameters[0].detach(), rtol=1e-5, atol=1e-6)
        assert lanes.losses[lane].item() == pytest.approx(alone.loss.item(), rel=1e-5)


def test_a_lane_that_overflows_is_marked_and_disturbs_no_other(tiny: Corpus) -> None:
    """With a decay of 10 a rate of 1e7 multiplies each weight by -1e8 a step."""
    knobs = [changed(SETTINGS, lr=lr, weight_decay=10.0) for lr in (1e-3, 1e7, 0.05)]
    lanes = lanes_after(CONFIG, knobs, tiny, 12)
    alone = trained_alone(CONFIG, knobs[1], tiny, 12)
    assert alone.recorder.diverged and lanes.diverged_at == [None, alone.recorder.step, None]
    assert math.isnan(lanes.losses[1].item()) and torch.isfinite(lanes.tables).all()
    assert torch.equal(lanes.tables[1], alone.parameters[0]), "its last finite table is kept"
    for lane in (0, 2):
        assert torch.equal(lanes.tables[lane], trained_alone(CONFIG, knobs[lane], tiny, 12).parameters[0])


def test_losses_are_exact_on_the_validation_split(corpus: Corpus) -> None:
    sweep = Sweep.of(CONFIG, changed(SETTINGS, max_steps=50), "lr", [1e-2, 1.0])
    running = RunningSweep(sweep, corpus)
    running.train()
    assert (running.where, running.step, running.done) == ("validation", 50, True)
    for point, settings in zip(running.points(), sweep.lanes(), strict=True):
        alone = trained_alone(CONFIG, settings, corpus, 50)
        assert point.loss == pytest.approx(split_loss(alone.model, corpus.val, CONFIG.block_size), rel=1e-6)
        assert point.diverged_at is None


def test_without_a_validation_split_losses_are_those_of_training(tiny: Corpus, play: str) -> None:
    text = Corpus.of(play[:4000], val_fraction=0.0)
    config = changed(CONFIG, val_fraction=0.0)
    running = RunningSweep(Sweep.of(config, changed(SETTINGS, max_steps=3), "lr", [1.0]), text)
    running.train()
    assert running.where == "training"
    alone = trained_alone(config, running.sweep.lanes()[0], text, 3)
    assert running.points()[0].loss == pytest.approx(split_loss(alone.model, text.train, 8), rel=1e-6)


def best_rate(corpus: Corpus, rates: list[float], steps: int) -> float:
    running = RunningSweep(Sweep.of(CONFIG, changed(SETTINGS, max_steps=steps), "lr", rates), corpus)
    running.train()
    best = best_point(running.points())
    assert best is not None
    return best.value


def test_the_bets_find_the_best_rate_within_a_factor_of_two_of_a_fine_sweep(corpus: Corpus) -> None:
    """The shape is a U: both ends are worse than the best by far."""
    fine = best_rate(corpus, spaced_values(0.01, 1.0, 32), 150)
    room = spaced_values(1e-4, 10.0, 13)
    assert 0.5 <= best_rate(corpus, room, 150) / fine <= 2


@pytest.mark.thorough
def test_forty_bets_of_a_thousand_steps_take_ten_seconds_and_find_the_best_rate(corpus: Corpus) -> None:
    """On one core, counted in its own seconds, so that other programs do not count."""
    began = time.thread_time()
    coarse = best_rate(corpus, spaced_values(1e-4, 10.0, 40), 1000)
    seconds = time.thread_time() - began
    assert 0.5 <= coarse / best_rate(corpus, spaced_values(coarse / 4, coarse * 4, 64), 1000) <= 2
    assert seconds <= 10, f"{seconds:.1f} s"


def test_it_runs_beside_everything_and_can_be_ended(corpus: Corpus) -> None:
    """Its moments come while it trains; the random numbers of the process stay where they are."""
    jobs, state = Jobs(), torch.get_rng_state()
    running = RunningSweep(Sweep.of(CONFIG, SETTINGS, "lr", [0.01, 0.1]), corpus, busy=lambda: False).begin(jobs)
    assert running.job is not None
    end = time.monotonic() + 60
    while running.job.stage.done < 5 and time.monotonic() < end:
        time.sleep(0.01)
    assert running.points() and not running.done
    assert jobs.close(60)
    with pytest.raises(Cancelled):
        running.job.result()
    assert torch.equal(torch.get_rng_state(), state)


def test_while_a_run_trains_half_of_the_time_is_left_to_it(tiny: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    sweep = Sweep.of(CONFIG, changed(SETTINGS, max_steps=7), "lr", [0.01])
    RunningSweep(sweep, tiny, busy=lambda: True).train()
    assert len(slept) == 7 and min(slept) > 0


def test_the_same_bet_twice_is_trained_once() -> None:
    assert Sweep.of(CONFIG, SETTINGS, "lr", [0.1, 0.01, 0.1]).values == (0.01, 0.1)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([], "0 different values are not possible; choose 1 to 64"),
        ([1e-3 * n for n in range(1, MOST_LANES + 2)], "65 different values are not possible; choose 1 to 64"),
        ([0.1, 0.0], "lr 0.0 is not possible; choose above 0"),
        ([1e8], "lr 100000000.0 is not possible; choose at most 10000000.0"),
        ([math.nan], "lr nan is not possible; choose"),
        ([math.inf], "lr inf is not possible; choose"),
    ],
)
def test_wrong_bets_are_refused(values: list[float], told: str) -> None:
    with pytest.raises(InputError) as error:
        Sweep.of(CONFIG, SETTINGS, "lr", values)
    assert told in str(error.value)


def test_large_vocabularies_and_other_models_are_refused(tiny: Corpus) -> None:
    wide = Corpus.of("".join(map(chr, range(0x4E00, 0x4E00 + MOST_TOKENS + 1))) * 20)
    with pytest.raises(InputError, match=r"a vocabulary of 129 tokens is too large .* at most 128 tokens"):
        RunningSweep(Sweep.of(CONFIG, SETTINGS, "lr", [0.1]), wide)
    gpt = preset("gpt-tiny")
    for config in (gpt.config, changed(CONFIG, optimizer="sgd")):
        with pytest.raises(InputError, match="cannot be trained many at once; choose 'bigram' under 'adamw', or race"):
            RunningSweep(Sweep.of(config, gpt.settings, "lr", [0.1]), tiny)


@pytest.mark.parametrize(
    ("text", "values"),
    [("0.001, 0.01, 0.3", [0.001, 0.01, 0.3]), (" 1e-3;.5 7\n", [1e-3, 0.5, 7]), ("3", [3.0]), ("nan", [math.nan])],
)
def test_values_are_read_as_people_write_them(text: str, values: list[float]) -> None:
    assert read_values(text) == pytest.approx(values, nan_ok=True)


@pytest.mark.parametrize("text", ["", " , ", "0.1, much", "1e", "0x1"])
def test_what_is_no_number_is_named(text: str) -> None:
    with pytest.raises(InputError, match=r"such as 0\.001, 0\.01, 0\.3"):
        read_values(text)


def test_a_range_has_the_same_factor_between_neighbours() -> None:
    assert spaced_values(1e-3, 10, 5) == [1e-3, 1e-2, 0.1, 1, 10]
    for wrong in ((0, 1, 3), (1, 1, 3), (1, math.inf, 3), (1, 2, 1), (1, 2, 65)):
        with pytest.raises(InputError):
            spaced_values(*wrong)


def test_exact_losses_of_pairs_are_means_over_targets(tiny: Corpus) -> None:
    tables = torch.randn(2, tiny.vocab_size, tiny.vocab_size, generator=torch.Generator().manual_seed(1))
    ids = tiny.val.long()
    by_hand = [-torch.log_softmax(table.double(), 1)[ids[:-1], ids[1:]].mean().item() for table in tables]
    assert PairLoss(tiny.val, tiny.vocab_size).of(tables).tolist() == pytest.approx(by_hand, rel=1e-12)


def test_weight_decay_is_a_knob_too(tiny: Corpus) -> None:
    assert KNOBS == ("lr", "weight_decay")
    running = RunningSweep(Sweep.of(CONFIG, changed(SETTINGS, lr=0.1, max_steps=20), "weight_decay", [0, 5]), tiny)
    running.train()
    without, much = running.points()
    assert (without.value, much.value) == (0, 5) and without.loss != much.loss
