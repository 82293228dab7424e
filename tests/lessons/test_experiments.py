"""What if: each experiment shows what it claims, really, and leaves the run that it began from as it was."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engine.config import LiveSettings, RunConfig, changed
from engine.generators import generator
from engine.lessons.experiments import EXPERIMENTS, Pacer, Start, batches, clearing, knobs, mistakes, rates, recipes
from engine.lessons.experiments.loops import USUAL_ORDER, FullTextLoss, max_weight_difference, run_stages, weights_of
from engine.lessons.results import Chart, CodeOutput
from engine.models import gpt
from engine.presets import preset
from engine.stream.status import State
from engine.text.corpus import Batcher
from engine.training.checkpoint import PausedState
from engine.training.evaluation import split_loss
from engine.training.state import take_snapshot
from engine.training.trainer import Trainer

BIGRAM = preset("bigram")
GPT = RunConfig(model="gpt", block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=0.2)
FEW = {
    "no-zero-grad-sgd": {"steps": 30},
    "no-zero-grad-adamw": {"steps": 30},
    "zero-grad-too-late": {"steps": 10},
    "zero-grad-places": {"steps": 10},
    "zeros-or-none": {"steps": 10, "used": 3},
    "sgd": {"steps": 20},
    "learning-rates": {"steps": 20},
    "every-step-better": {"steps": 10},
    "decay-at-the-end": {"steps": 10},
    "first-weights": {"steps": 10},
    "largest-step": {"steps": 5},
    "memorizing": {"steps": 60},
    "until-80-percent": {"steps": 10},
    "batch-sizes": {"draws": 2},
    "batch-losses": {"steps": 5},
    "evaluation-draws": {"steps": 10},
    "warm-up": {"steps": 4},
    "averages": {"steps": 4},
    "clipping": {"steps": 4},
    "weight-decay": {"steps": 10},
    "batch-against-rate": {"windows": 600},
}


@pytest.fixture
def start(corpus) -> Start:
    return Start(BIGRAM.config, BIGRAM.settings, corpus)


def quiet() -> Pacer:
    return Pacer()


def code_outputs(result) -> list[CodeOutput]:
    return [display for display in result.displays if isinstance(display, CodeOutput)]


# ------------------------------------------------------------------ what all have in common


@pytest.mark.parametrize("config", [BIGRAM.config, GPT], ids=lambda c: c.model)
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.name)
def test_an_experiment_leaves_the_run_and_its_moment_as_they_were(
    experiment, config, corpus, make_run, wait_until, monkeypatch
) -> None:
    monkeypatch.setattr(rates, "WARM_UP", 10)
    run = make_run(config, LiveSettings(lr=0.01, max_steps=1000, batch_size=4), corpus)
    run.make_steps(2)
    wait_until(lambda: run.step == 2 and run.state is State.PAUSED)
    for _ in range(5):
        run.make_stage()
    moment = run.paused_state()
    assert moment.stages == 5
    before = {name: tensor.clone() for name, tensor in every_tensor(moment.snapshot).items()}
    text, draws = corpus.train.clone(), torch.get_rng_state()
    result = experiment.run(Start(config, run.settings, corpus, moment), quiet(), **FEW.get(experiment.name, {}))
    assert result.summary.endswith(".") and result.displays and result.setup
    if config.model == "bigram" and experiment.model != "tiny gpt":
        # building a GPT moves the process-wide generator, which nothing here draws from
        assert torch.equal(draws, torch.get_rng_state())
    for now in (moment.snapshot, run.paused_state().snapshot):
        after = every_tensor(now)
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert torch.equal(corpus.train, text)
    live = run.loop.trainer
    assert (run.step, run.stage, run.state) == (2, 5, State.PAUSED)
    copy = Start(config, run.settings, corpus, moment).trainer()
    live.advance()
    assert torch.equal(weights_of(live), weights_of(copy)), "the step under way ended otherwise"


def every_tensor(snapshot) -> dict[str, torch.Tensor]:
    kept = {f"{name}/{key}": t for name, state in snapshot.optimizer.items() for key, t in state.items()}
    return {**snapshot.weights, **snapshot.generators, **kept}


def test_each_experiment_has_a_name_of_its_own_and_says_where_the_documents_speak_of_it() -> None:
    assert len({experiment.name for experiment in EXPERIMENTS}) == len(EXPERIMENTS)
    assert set(FEW) <= {experiment.name for experiment in EXPERIMENTS}
    for experiment in EXPERIMENTS:
        assert experiment.documents[:3] in ("000", "001", "002", "003", "004")


def test_the_loss_of_a_small_batch_jumps_as_the_root_of_its_size_says(start) -> None:
    scatter = batches.batch_losses(start, quiet(), steps=80).numbers
    assert scatter["scatter_1"] / scatter["scatter_8"] == pytest.approx(math.sqrt(8), rel=0.4)
    assert scatter["scatter_1"] > scatter["scatter_8"] > scatter["scatter_32"] > scatter["scatter_256"]


def test_the_same_start_gives_the_same_result(start) -> None:
    one, other = (clearing.never_cleared_sgd(start, quiet(), steps=40) for _ in range(2))
    assert (one.summary, one.displays, one.numbers) == (other.summary, other.displays, other.numbers)


def test_the_usual_order_is_the_trainers_own_step(start) -> None:
    walked, advanced = start.trainer(), start.trainer()
    for _ in range(20):
        run_stages(walked, USUAL_ORDER)
        advanced.advance()
    assert max_weight_difference(walked, advanced) == 0
    assert walked.step == advanced.step == 20


def test_the_loss_on_the_whole_text_is_the_exact_one(start, corpus) -> None:
    model = start.trainer().model
    assert FullTextLoss(corpus).loss(model) == pytest.approx(split_loss(model, corpus.train, 64), abs=2e-6)


def test_a_bigram_takes_the_place_of_what_is_too_large(corpus) -> None:
    big = Start(preset("gpt-small").config, LiveSettings(), corpus)
    assert big.small().config.model == big.bigram().config.model == "bigram"
    tiny = Start(GPT, LiveSettings(), corpus)
    assert tiny.small() is tiny
    wide = Start(changed(BIGRAM.config, block_size=64), LiveSettings(), corpus)
    assert wide.bigram().config.block_size == 8


def test_the_pacer_rests_as_long_as_it_worked_while_the_run_is_running() -> None:
    now, rests, reported = [0.0], [], []
    busy = [True]

    def sleep(seconds: float) -> None:
        rests.append(seconds)
        now[0] += seconds

    pacer = Pacer(lambda: busy[0], reported.append, clock=lambda: now[0], sleep=sleep)
    pacer.expect(1000)
    for _ in range(500):
        now[0] += 0.001
        pacer.advance()
    assert sum(rests) == pytest.approx(0.5, abs=0.02)
    busy[0] = False
    for _ in range(500):
        now[0] += 0.001
        pacer.advance()
    assert sum(rests) == pytest.approx(0.5, abs=0.02)
    assert reported == sorted(reported)
    assert reported[0] > 0 and reported[-1] <= 1
    assert len(reported) <= now[0] / Pacer.REPORT_SECONDS


def test_what_progress_raises_ends_the_experiment(start) -> None:
    def leave(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clearing.never_cleared_sgd(start, Pacer(report=leave), steps=100_000)


# ------------------------------------------------------------------ clearing gradients


def test_without_zero_grad_is_what_a_plain_loop_without_it_does(start, corpus) -> None:
    copy = start.trainer("sgd", lr=1.0, batch_size=32, weight_decay=0.0, grad_clip=None)
    table = copy.model.token_embedding.weight.detach().clone().requires_grad_()
    optimizer = torch.optim.SGD([table], lr=1.0)
    batcher = Batcher(corpus.train, 8, generator(start.config.seed, "data"))
    for _ in range(50):
        run_stages(copy, clearing.NEVER_CLEARED)
        xb, yb = batcher.draw(32)
        F.cross_entropy(table[xb].view(-1, table.size(1)), yb.reshape(-1)).backward()
        optimizer.step()
    assert torch.allclose(copy.parameters[0], table, atol=1e-4)


def test_sgd_without_zero_grad_runs_away(start) -> None:
    numbers = clearing.never_cleared_sgd(start, quiet()).numbers
    assert numbers["with"] == pytest.approx(2.90, abs=0.03)
    assert numbers["without"] > 4.2
    assert 0 < numbers["crossed"] < 500


def test_adamw_without_zero_grad_first_looks_better_and_is_worse_in_the_end(start) -> None:
    result = clearing.never_cleared_adamw(start, quiet())
    assert 1000 < result.numbers["crossed"] < 2500
    assert result.numbers["without"] > result.numbers["with"] + 0.03
    (chart,) = result.displays
    assert isinstance(chart, Chart)
    usual, forgetful = chart.curves
    third = len(usual.y) // 3
    assert forgetful.y[third] < usual.y[third] - 0.2
    at_1e3 = clearing.never_cleared(start, quiet(), "adamw", 1e-3, 1000)
    assert at_1e3.numbers["without"] < at_1e3.numbers["with"] - 0.5
    assert "ahead" in at_1e3.summary, "where the effect does not show, the sentence says so"


def test_clearing_between_backward_and_step_learns_nothing(start) -> None:
    result = clearing.cleared_too_late(start, quiet(), steps=50)
    assert result.numbers["moved_late"] == 0
    assert result.numbers["moved"] > 0.1
    assert "nothing is learnt" in result.summary


@pytest.mark.parametrize("config", [BIGRAM.config, GPT], ids=lambda c: c.model)
def test_the_three_places_of_zero_grad_are_bit_identical(config, corpus) -> None:
    result = clearing.cleared_at_three_places(Start(config, BIGRAM.settings, corpus), quiet(), steps=40)
    assert (result.numbers["apart"], result.numbers["losses_equal"]) == (0.0, 1.0)
    assert "bit for bit" in result.summary
    assert len(clearing.PLACES) == len({order for _, order in clearing.PLACES.values()}) == 4


def test_three_places_of_zero_grad_and_a_wrong_one_that_learns_nothing(start) -> None:
    result = clearing.cleared_at_three_places(start, quiet(), steps=10)
    assert result.numbers["wrong_moved"] == 0 and result.numbers["wrong"] > 0
    (table,) = result.displays
    assert [row[3] for row in table.rows[:3]] == ["0", "0", "0"]
    assert table.rows[3][0] == "between backward() and step()" and table.rows[3][3] != "0"
    assert "its largest change of a weight is 0" in result.summary


def test_adamw_moves_a_skipped_weight_with_zeros_and_not_with_none(start) -> None:
    result = clearing.zeros_or_none(start, quiet())
    assert result.numbers["none"] == 0
    assert result.numbers["apart"] == 0
    # by hand: AdamW on a weight whose gradient is 1 for 20 steps and 0 for 80
    w = 1.0
    m = v = 0.0
    path = [w]
    for t in range(1, 101):
        g = 1.0 if t <= 20 else 0.0
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= 0.01 * 0.01 * w
        w -= 0.01 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
        path.append(w)
    assert result.numbers["zeros"] == pytest.approx(path[-1] - path[20], abs=1e-5)
    chart, _ = result.displays
    assert np.allclose(chart.curves[1].y, path, atol=1e-5)


def test_what_set_to_none_costs_in_memory_and_time(start) -> None:
    result = clearing.zeros_or_none(start, quiet(), steps=5, used=2)
    weights = sum(p.numel() * 4 for p in start.trainer().parameters)
    assert result.numbers["none_bytes"] == 0
    assert result.numbers["zeros_bytes"] == result.numbers["weights"] == weights
    _, table = result.displays
    assert [row[:2] for row in table.rows] == [("True", "0"), ("False", f"{weights:,}")]
    assert all(float(cell.replace(",", "")) > 0 for row in table.rows for cell in row[2:])
    assert f"zeros {weights:,}, 100 % of what the weights take" in result.summary
    trainer = start.trainer()
    clearing.cost_of_clearing(trainer, to_none=False)
    assert max_weight_difference(trainer, start.trainer()) == 0


# ------------------------------------------------------------------ rules and rates


def test_sgd_at_adamws_rate_hardly_moves_and_at_30_it_learns(start) -> None:
    numbers = rates.sgd_for_adamw(start, quiet(), steps=1000).numbers
    assert numbers["sgd"] == pytest.approx(4.88, abs=0.02)
    assert numbers["adamw"] == pytest.approx(3.82, abs=0.05)
    assert numbers["sgd_fast"] == pytest.approx(2.40, abs=0.05)


def test_a_learning_rate_far_too_high_does_not_settle(start) -> None:
    result = rates.learning_rates(start, quiet(), steps=500)
    numbers = result.numbers
    assert numbers["0.1"] == pytest.approx(2.378, abs=0.03)
    assert numbers["10"] > 3.5
    assert numbers["swing"] > 0.2
    assert min(numbers["0.1"], numbers["0.01"]) < numbers["1"] < numbers["10"]
    assert numbers["0.0003"] > 4.5
    assert "does not settle" in result.summary


@pytest.mark.thorough
def test_the_batch_loss_rises_half_the_time_while_the_model_gets_better_at_every_step(start) -> None:
    numbers = rates.every_step_better(start, quiet()).numbers
    assert numbers["text"] == 0
    assert 0.4 < numbers["batch"] < 0.6
    assert 0.3 < numbers["text_near"] < 0.6


def test_a_bigram_on_a_short_text_turns(start) -> None:
    result = rates.memorizing(start, quiet())
    assert result.numbers["turned"] == 1
    assert result.numbers["last"] > result.numbers["best"] + 0.05
    assert 100 < result.numbers["best_step"] < 1500


def test_the_first_1000_characters_are_800_to_train_on(start) -> None:
    result = rates.memorizing(start, quiet(), steps=60)
    (told,) = [one for one in EXPERIMENTS if one.name == "memorizing"]
    assert (result.numbers["trained_on"], result.numbers["of"]) == (800, 1000)
    assert "Trained on 800 of the first 1,000 tokens, with 100 for validation" in result.summary
    assert "on 800 tokens: the first 1,000 of the text" in told.asks and "data[:800], data[800:900]" in told.code


def test_backward_runs_once_a_step_and_repeating_one_batch_does_not_get_to_80_percent(start) -> None:
    numbers = rates.until_80_percent(start, quiet(), steps=200).numbers
    assert numbers["backwards"] == 200
    assert math.isnan(numbers["reached"])
    assert numbers["chance"] < 0.5
    assert numbers["again"] > numbers["ordinary"] + 1


# ------------------------------------------------------------------ knobs


def plain_gpt(start: Start) -> tuple[gpt.GPT, Batcher]:
    """A tiny GPT as the experiments make it, by hand, and its batches."""
    config = start.tiny_gpt().config
    sizes = (config.block_size, config.n_layer, config.n_head, config.n_embd)
    model = gpt.GPT(start.dataset.vocab_size, *sizes, generator=generator(config.seed, "weights"))
    return model, Batcher(start.dataset.train, config.block_size, generator(config.seed, "data"))


def mean_over_the_text(model: gpt.GPT, corpus) -> float:
    """Its loss on every 97th window of 32 of the training text."""
    starts = torch.arange(0, len(corpus.train) - 33, 97)
    windows = corpus.train[starts[:, None] + torch.arange(33)].long()
    with torch.no_grad():
        return float(F.cross_entropy(model(windows[:, :-1])[0].flatten(0, 1), windows[:, 1:].flatten()))


def test_a_warm_up_saves_a_high_rate_and_costs_steps_at_a_low_one(start, corpus) -> None:
    result = knobs.warm_up_left_out(start, quiet())
    numbers = result.numbers
    assert numbers["cold"] > numbers["warm"] + 0.05
    assert numbers["gentle"] < numbers["gentle_warm"]
    assert "carries a model to where it learns slowly" in result.summary and "only costs steps" in result.summary
    # the steep rate with a warm-up, by a loop of plain torch
    model, batcher = plain_gpt(start)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    for step in range(1, 201):
        inputs, targets = batcher.draw(16)
        F.cross_entropy(model(inputs)[0].flatten(0, 1), targets.flatten()).backward()
        optimizer.param_groups[0]["lr"] = knobs.STEEP * min(1, step / (knobs.WARMUP + 1))
        optimizer.step()
        optimizer.zero_grad()
    assert numbers["warm"] == pytest.approx(mean_over_the_text(model, corpus), abs=0.05)


def test_adamw_needs_both_of_its_averages(start, corpus) -> None:
    result = knobs.averages_left_out(start, quiet())
    numbers = result.numbers
    assert numbers["both"] + 0.02 < min(numbers["no_mean"], numbers["no_square"])
    assert max(numbers["no_mean"], numbers["no_square"]) < numbers["neither"]
    assert numbers["apart"] > 3
    model, batcher = plain_gpt(start)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    for _ in range(200):
        inputs, targets = batcher.draw(16)
        F.cross_entropy(model(inputs)[0].flatten(0, 1), targets.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert numbers["no_square"] == pytest.approx(mean_over_the_text(model, corpus), abs=0.05)


def test_without_clipping_gradients_grow_until_it_is_over(start) -> None:
    result = knobs.clipping_left_out(start, quiet())
    numbers = result.numbers
    assert numbers["diverged_at"] < 30 and numbers["longest"] > 1e6
    assert numbers["clipped"] < 2.8
    _, lengths = result.displays
    assert isinstance(lengths, Chart)
    assert numbers["shortened"] == sum(length > knobs.CLIP for length in lengths.curves[0].y) > 100
    assert f"over at step {numbers['diverged_at']:.0f}" in result.summary
    # the same without clipping, by a loop of plain torch, as far as it goes
    model, batcher = plain_gpt(start)
    norms = []
    while not norms or math.isfinite(norms[-1]):
        inputs, targets = batcher.draw(16)
        F.cross_entropy(model(inputs)[0].flatten(0, 1), targets.flatten()).backward()
        norms.append(float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm()))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 2.0 * parameter.grad
                parameter.grad = None
    assert len(norms) == pytest.approx(numbers["diverged_at"], abs=3)


def test_where_clipping_changes_nothing_the_sentence_says_so(start) -> None:
    result = knobs.clipping_left_out(start, quiet(), steps=30, lr=0.01)
    assert math.isnan(result.numbers["diverged_at"])
    assert "clipping only shortens good steps" in result.summary


def test_a_little_decay_helps_on_a_short_text_and_much_harms(start) -> None:
    result = knobs.pulled_to_zero(start, quiet())
    numbers = result.numbers
    assert numbers["val_0.1"] < numbers["val_0"] - 0.1
    assert numbers["val_1"] > numbers["val_0.1"] + 0.2
    assert numbers["train_0"] < numbers["train_0.1"] < numbers["train_1"]
    assert "chance pairs of a short text are believed less" in result.summary
    # the text's own pairs, counted, with as many added to each as fit it best: no table does much better than that
    short = start.dataset.tokenizer.decode(start.dataset.train[:1000].numpy())
    train, val = short[:800], short[800:900]
    letters = sorted(set(short))
    index = {letter: at for at, letter in enumerate(letters)}
    counts = np.zeros((len(letters), len(letters)))
    for one, next_one in pairwise(train):
        counts[index[one], index[next_one]] += 1

    def surprise(added: float) -> float:
        shares = (counts + added) / (counts + added).sum(axis=1, keepdims=True)
        return float(np.mean([-np.log(shares[index[a], index[b]]) for a, b in pairwise(val)]))

    best = min(surprise(added) for added in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0))
    assert best < numbers["val_0.1"] < best + 0.3 < numbers["val_1"]


def test_sixteen_times_the_batch_at_sixteen_times_the_rate_learns_as_much_from_the_text(start) -> None:
    result = knobs.batch_against_rate(start, quiet())
    numbers = result.numbers
    assert numbers["32@4"] == pytest.approx(numbers["8@1"], rel=0.1)
    assert numbers["128@16"] == pytest.approx(numbers["8@1"], rel=0.1)
    assert numbers["128@1"] > numbers["8@1"] + 0.3
    assert numbers["512@64"] > 2 * numbers["8@1"]
    assert "Not for ever" in result.summary
    # one of them by a loop of plain torch
    table = start.bigram().trainer().parameters[0].detach().clone().requires_grad_()
    batcher = Batcher(start.dataset.train, 8, generator(start.config.seed, "data"))
    for _ in range(19_200 // 128):
        inputs, targets = batcher.draw(128)
        F.cross_entropy(table[inputs].flatten(0, 1), targets.flatten()).backward()
        with torch.no_grad():
            table -= 80 * table.grad
            table.grad = None
    data = start.dataset.train.long()
    counts = torch.zeros_like(table).index_put_((data[:-1], data[1:]), torch.ones(len(data) - 1), accumulate=True)
    loss = float(-(counts * table.detach().log_softmax(-1)).sum() / counts.sum())
    assert numbers["128@16"] == pytest.approx(loss - FullTextLoss(start.dataset).floor, abs=1e-3)


# ------------------------------------------------------------------ batches


def test_a_rate_that_falls_at_the_end_ends_nearer_the_floor(start) -> None:
    figures = recipes.decay_at_the_end(start, quiet()).numbers
    assert 0 < figures["falling"] < 0.5 * figures["constant"]


def test_weights_of_zero_begin_at_guessing_and_large_ones_above(start, corpus) -> None:
    figures = recipes.other_first_weights(start, quiet(), steps=5).numbers
    assert figures["guessing"] == pytest.approx(math.log(corpus.vocab_size))
    assert figures["zeros"] == pytest.approx(figures["guessing"], abs=1e-6)
    assert figures["normal"] > figures["guessing"] + 0.3


def test_the_parts_of_a_batch_add_up_to_its_gradient(start) -> None:
    figures = recipes.a_batch_in_parts(start, quiet()).numbers
    assert 0 <= figures["apart"] < 1e-5 * figures["largest"]


def test_below_two_over_lambda_one_batch_only_falls_and_above_it_leaps(start) -> None:
    numbers = recipes.how_far_a_step_may_go(start, quiet()).numbers
    assert numbers["0.5"] == 0
    assert numbers["4"] > numbers["0.5"] + 20


def test_the_noise_of_the_gradient_falls_with_the_root_of_the_batch_size(start, corpus) -> None:
    numbers = batches.batch_sizes(start, quiet(), draws=8).numbers
    assert numbers["power"] == pytest.approx(-0.5, abs=0.05)
    assert numbers["angle_1"] > numbers["angle_8"] > numbers["angle_32"] > numbers["angle_256"]
    # the gradient of one batch, by hand: (softmax - one-hot) summed into the rows that were seen
    trainer, other = start.trainer(), start.trainer()
    row = batches.gradient(trainer, 8)
    other.tune(changed(other.settings, batch_size=8))
    other.batch()
    table = other.parameters[0].detach().numpy().astype(np.float64)
    by_hand = np.zeros_like(table)
    for x, y in zip(other.inputs.flatten().tolist(), other.targets.flatten().tolist(), strict=True):
        shares = np.exp(table[x] - table[x].max())
        by_hand[x] += (shares / shares.sum() - np.eye(len(table))[y]) / other.inputs.numel()
    assert np.allclose(row.numpy(), by_hand.flatten(), atol=1e-6)
    assert torch.equal(trainer.parameters[0], start.trainer().parameters[0]), "the weights moved"


def test_random_windows_leave_the_share_that_poisson_says(start, corpus) -> None:
    numbers = batches.passes(start, quiet()).numbers
    assert numbers["passes"] == pytest.approx(numbers["steps"] * 32 * 8 / len(corpus.train))
    assert numbers["never"] == pytest.approx(math.exp(-numbers["passes"]), abs=0.01)
    counted = np.zeros(len(corpus.train), dtype=bool)
    starts = generator(start.config.seed, "data")
    for _ in range(int(numbers["steps"])):
        for at in torch.randint(len(corpus.train) - 8, (32,), generator=starts).tolist():
            counted[at + 1 : at + 9] = True
    assert numbers["never"] == pytest.approx(1 - counted[1:].mean(), abs=1e-6)


def test_document_003s_bound_loses_the_last_window_and_fails_on_one(start) -> None:
    result = batches.last_window(start, quiet(), draws=4000)
    assert result.numbers == {"lost": 1, "windows": 4}
    table, error = result.displays
    assert table.rows[-1][2] == "0" and all(row[1] != "0" for row in table.rows)
    with pytest.raises(RuntimeError) as real:
        torch.randint(0, (4,))
    assert (error.kind, error.text) == ("RuntimeError", str(real.value))


@pytest.mark.parametrize("config", [BIGRAM.config, GPT], ids=lambda c: c.model)
def test_evaluating_with_the_trainings_generator_changes_training(config, corpus) -> None:
    settings = LiveSettings(lr=0.01, batch_size=8)
    numbers = batches.evaluation_moves_training(Start(config, settings, corpus), quiet(), steps=25).numbers
    assert numbers["own"] == 0
    assert min(numbers["shared"], numbers["rarely"], numbers["between"]) > 0


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize("config", [BIGRAM.config, GPT], ids=lambda c: c.model)
def test_softmax_over_time_sums_to_1_along_the_wrong_axis(config, corpus) -> None:
    start = Start(config, LiveSettings(batch_size=4), corpus)
    result = mistakes.softmax_dimension(start, quiet())
    trainer = start.trainer()
    run_stages(trainer, mistakes.FORWARD_STAGES)
    logits = trainer.logits.detach().numpy().astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert result.numbers["wrong"] == pytest.approx(shares[0].sum(axis=-1).max(), rel=1e-5)
    assert result.numbers["right"] == pytest.approx(1, abs=1e-6)
    assert result.numbers["same"] == 1
    right = np.take_along_axis(shares, trainer.targets.numpy()[..., None], axis=2)
    assert result.numbers["chance_1"] == pytest.approx(right.mean(), rel=1e-5)
    assert result.numbers["level_1"] == pytest.approx(1 / logits.shape[1])
    assert result.numbers["level_-1"] == pytest.approx(1 / logits.shape[2])
    larger = result.numbers["chance_1"] / result.numbers["chance_-1"]
    assert larger > 5, "the mistake looks many times better"
    assert f"seems to get {larger:.1f} times as much" in result.summary and "no better a model" in result.summary
    assert result.numbers["wrong"] != pytest.approx(1, abs=0.01)


def test_a_second_backward_raises_torchs_own_error(start) -> None:
    result = mistakes.second_backward(start, quiet())
    first, second, kept = code_outputs(result)
    w = torch.ones(1, requires_grad=True)
    loss = (w * w).sum()
    loss.backward()
    with pytest.raises(RuntimeError) as real:
        loss.backward()
    assert (first.kind, kept.kind) == ("no error", "no error")
    assert (second.kind, second.text) == ("RuntimeError", str(real.value))
    assert result.numbers["doubled"] == 1


def test_a_number_has_no_backward(start) -> None:
    (error,) = code_outputs(mistakes.item_backward(start, quiet()))
    assert (error.kind, error.text) == ("AttributeError", "'float' object has no attribute 'backward'")


def test_a_second_optimizer_gets_nothing_from_a_used_generator(start) -> None:
    result = mistakes.one_generator(start, quiet())
    error, listed = code_outputs(result)
    assert result.numbers["held"] == result.numbers["of"] == len(list(start.trainer().model.parameters()))
    with pytest.raises(ValueError, match="empty parameter list") as real:
        torch.optim.SGD(iter(()), lr=1.0)
    assert (error.kind, error.text) == ("ValueError", str(real.value))
    assert listed.kind == "no error"


def test_a_trainer_of_another_rule_begins_with_an_empty_state(corpus) -> None:
    adamw = Trainer(BIGRAM.config, BIGRAM.settings, corpus, lambda _: None)
    adamw.advance()
    moment = PausedState(take_snapshot(adamw), 0)
    sgd = Start(BIGRAM.config, BIGRAM.settings, corpus, moment).trainer("sgd", lr=1.0)
    assert not sgd.optimizer.state
    assert max_weight_difference(sgd, adamw) == 0
    assert Start(BIGRAM.config, BIGRAM.settings, corpus, moment).step == 1


# ------------------------------------------------------------------ what the charts say of their batches


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.name)
def test_a_chart_says_that_all_curves_saw_the_same_batches_only_where_they_did(experiment, start, monkeypatch) -> None:
    monkeypatch.setattr(rates, "WARM_UP", 10)
    seen: dict[Batcher, list[bytes]] = {}  # each loop has a batcher of its own
    draw = Batcher.draw

    def spy(batcher: Batcher, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        batch = draw(batcher, size)
        if batcher.starts > len(start.dataset.val):  # those of validation are drawn when a trainer is made
            seen.setdefault(batcher, []).append(batch[0].numpy().tobytes())
        return batch

    monkeypatch.setattr(Batcher, "draw", spy)
    result = experiment.run(start, quiet(), **FEW.get(experiment.name, {}))
    for chart in result.displays:
        if isinstance(chart, Chart):
            assert "both curves" not in chart.help or len(chart.curves) == 2
    if any("saw the same batches" in getattr(chart, "help", "") for chart in result.displays):
        (first, *others) = seen.values()
        assert others and all(one == first for one in others)
    if experiment.name == "until-80-percent":
        repeated, usual = seen.values()
        assert len(repeated) == 1 < len(usual), "one loop repeats its batch"
