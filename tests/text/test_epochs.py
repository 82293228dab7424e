"""Runs by epochs (document 001's `train_model_simple`), held against a loop written by hand."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from engine import link
from engine.__main__ import main
from engine.config import MAX_STEPS, LiveSettings, RunConfig, changed
from engine.errors import InputError
from engine.generators import generator
from engine.models.gpt import GPT
from engine.presets import preset
from engine.runs.run import limit_to_epochs
from engine.stream.messages import Event, Observation, Record, Sample, Scalars, drain_queue
from engine.stream.status import State
from engine.text.corpus import Corpus
from engine.text.epochs import EpochBatcher, window_count
from engine.training.checkpoint import PausedState
from engine.training.evaluation import split_loss
from engine.training.sampling import evaluating
from engine.training.state import replay, restore, take_snapshot
from engine.training.trainer import STAGES, Trainer

NOTEBOOK = Path(__file__).resolve().parent.parent.parent / "data" / "ferry-notebook.txt"
CONFIG = RunConfig(
    model="gpt",
    epochs=3,
    block_size=8,
    n_layer=1,
    n_head=2,
    n_embd=8,
    observe_every=1000,
    eval_every=5,
    eval_batches=3,
    sample_tokens=5,
    sample_prompt="ab",
)
SETTINGS = LiveSettings(lr=0.01, batch_size=4, max_steps=MAX_STEPS)


def batcher(tokens: int, block_size: int, seed: int = 0) -> EpochBatcher:
    return EpochBatcher(torch.arange(tokens), block_size, torch.Generator().manual_seed(seed))


def trainer_of(corpus: Corpus, config: RunConfig = CONFIG, settings: LiveSettings = SETTINGS) -> Trainer:
    """A trainer that keeps what it emits in `.records`."""
    records: list[Record] = []
    trainer = Trainer(config, limit_to_epochs(config, settings, corpus), corpus, records.append)
    trainer.records = records  # type: ignore[attr-defined]
    return trainer


def finished(trainer: Trainer) -> Trainer:
    trainer.observer.show_start()
    for _ in range(trainer.settings.max_steps):
        trainer.advance()
    trainer.observer.test()
    return trainer


def of_kind(trainer: Trainer, kind: type) -> list:
    return [record for record in trainer.records if isinstance(record, kind)]  # type: ignore[attr-defined]


def channel(trainer: Trainer, name: str) -> dict[int, float]:
    return {o.step: o.scalars[name] for o in of_kind(trainer, Observation) if name in o.scalars}


# ---------------------------------------------------------------- batches


@given(st.integers(2, 400), st.integers(1, 20), st.integers(1, 30))
def test_every_window_comes_once_an_epoch(tokens: int, block: int, batch: int) -> None:
    count = window_count(tokens, block)
    if not count:
        with pytest.raises(ValueError, match="too few"):
            batcher(tokens, block)
        return
    loader = batcher(tokens, block)
    for epoch in (1, 2, 3):
        firsts: list[int] = []
        for _ in range(max(1, count // batch)):
            inputs, targets = loader.draw(batch)
            assert loader.epoch == epoch
            assert torch.equal(targets, inputs + 1)
            assert inputs.shape == (min(batch, count), block)
            firsts += inputs[:, 0].tolist()
        assert loader.windows_left == 0, "the epoch ends where no whole batch is left"
        assert len(set(firsts)) == len(firsts) and all(first % block == 0 for first in firsts)
        assert len(firsts) == (count // batch * batch or count)


def test_windows_lie_side_by_side_and_none_runs_over_the_end() -> None:
    for tokens, block in itertools.product(range(0, 40), range(1, 12)):
        assert window_count(tokens, block) == len(range(0, tokens - block, block))


def test_each_epoch_has_another_order() -> None:
    loader = batcher(801, 8)
    orders = [tuple(loader.draw(100)[0][:, 0].tolist()) for _ in range(3)]
    assert len(set(orders)) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1


@given(st.lists(st.integers(1, 12), min_size=1, max_size=40))
def test_a_batch_size_turned_within_an_epoch_repeats_no_window(sizes: list[int]) -> None:
    loader, seen = batcher(81, 8), {}
    for size in sizes:
        firsts = loader.draw(size)[0][:, 0].tolist()
        assert 1 <= len(firsts) <= size
        assert not seen.setdefault(loader.epoch, set()) & set(firsts)
        seen[loader.epoch] |= set(firsts)
    assert list(seen) == list(range(1, loader.epoch + 1))


def test_a_batch_raised_above_what_is_left_gets_what_is_left() -> None:
    loader = batcher(81, 8)  # 10 windows
    assert [len(loader.draw(size)[0]) for size in (4, 9, 4)] == [4, 6, 4]
    assert loader.epoch == 2


@given(st.integers(0, 30), st.integers(1, 7))
def test_a_restored_batcher_goes_on(before: int, batch: int) -> None:
    loader, other = batcher(201, 8), batcher(201, 8)
    for _ in range(before):
        loader.draw(batch)
    state, random = loader.state(), loader._generator.get_state()
    expected = [loader.draw(batch)[0] for _ in range(30)]
    other.draw(3)
    other.restore(state)
    other._generator.set_state(random)
    assert all(torch.equal(other.draw(batch)[0], inputs) for inputs in expected)


# ---------------------------------------------------------------- training


def by_hand(corpus: Corpus, config: RunConfig, settings: LiveSettings) -> tuple[GPT, list[float]]:
    """Document 001's loop without its evaluation: slices stacked, a new order of them in each epoch."""
    data, size, batch = corpus.train.long(), config.block_size, settings.batch_size
    draws = generator(config.seed, "data")
    model = GPT(
        corpus.vocab_size,
        size,
        config.n_layer,
        config.n_head,
        config.n_embd,
        generator=generator(config.seed, "weights"),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    starts = list(range(0, len(data) - size, size))
    losses = []
    for _ in range(config.epochs or 0):
        order = [starts[i] for i in torch.randperm(len(starts), generator=draws).tolist()]
        for first in range(0, len(order) - batch + 1, batch):  # the last, smaller batch is dropped
            rows = order[first : first + batch]
            inputs = torch.stack([data[i : i + size] for i in rows])
            targets = torch.stack([data[i + 1 : i + size + 1] for i in rows])
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs)[0].flatten(0, 1), targets.flatten())
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return model, losses


def test_weights_are_those_of_a_loop_by_hand_bit_for_bit(tiny: Corpus) -> None:
    trainer = finished(trainer_of(tiny))
    model, losses = by_hand(tiny, CONFIG, SETTINGS)
    assert len(losses) == trainer.settings.max_steps == trainer.step == 3 * (window_count(len(tiny.train), 8) // 4)
    assert [row.loss for row in of_kind(trainer, Scalars)] == losses
    for mine, its in zip(trainer.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, its)


def test_another_evaluation_gives_the_same_weights(tiny: Corpus) -> None:
    config = changed(CONFIG, dropout=0.3)
    runs = [
        finished(trainer_of(tiny, changed(config, eval_every=every, eval_batches=batches, sample_tokens=tokens)))
        for every, batches, tokens in [(1, 1, 1), (5, 3, 20), (1000, 1000, 5)]
    ]
    for others in zip(*(run.model.parameters() for run in runs), strict=True):
        assert torch.equal(others[0], others[1]) and torch.equal(others[0], others[2])


def test_losses_of_both_parts_every_eval_every_steps_and_of_the_untrained_model(tiny: Corpus) -> None:
    trainer = finished(trainer_of(tiny, settings=changed(SETTINGS, speed=1)))  # a speed limit changes no cadence
    last = trainer.settings.max_steps
    assert list(channel(trainer, "val/loss")) == sorted({*range(0, last + 1, 5), last})
    assert channel(trainer, "eval/train_loss").keys() == channel(trainer, "val/loss").keys()
    assert channel(trainer, "tokens_seen") == {step: step * 4 * 8 for step in channel(trainer, "val/loss")}
    per_epoch = last // 3
    epochs = {step: max(1, -(-step // per_epoch)) for step in channel(trainer, "val/loss")}
    assert channel(trainer, "epoch") == epochs


def test_the_evaluation_is_the_mean_over_its_own_batches(tiny: Corpus) -> None:
    trainer = trainer_of(tiny)
    trainer.observer.show_start()
    for name, split in (("eval/train_loss", tiny.train), ("val/loss", tiny.val)):
        batches = (tiny.train_batches if name.startswith("eval") else tiny.val_batches)(CONFIG, 4, torch.device("cpu"))
        assert len(batches) == min(3, window_count(len(split), 8) // 4 or 1)
        rows = torch.cat([inputs for inputs, _ in batches])
        whole = {tuple(split[i : i + 9].tolist()) for i in range(0, len(split) - 8, 8)}
        ends = torch.cat([targets[:, -1:] for _, targets in batches])
        assert {tuple(row) for row in torch.cat((rows, ends), dim=1).tolist()} <= whole
        with evaluating(trainer.model):
            losses = [float(F.cross_entropy(trainer.model(x)[0].flatten(0, 1), y.flatten())) for x, y in batches]
        assert channel(trainer, name)[0] == pytest.approx(sum(losses) / len(losses), rel=1e-6)


def test_a_part_with_fewer_windows_than_a_batch_is_one_batch(tiny: Corpus) -> None:
    config = changed(CONFIG, block_size=16, eval_batches=5)  # 34 tokens of validation: 2 windows
    batches = tiny.val_batches(config, 4, torch.device("cpu"))
    assert [inputs.shape for inputs, _ in batches] == [(2, 16)]


def test_a_greedy_sample_after_each_epoch(tiny: Corpus) -> None:
    trainer = finished(trainer_of(tiny))
    ends = [event.step for event in of_kind(trainer, Event) if event.name == "epoch"]
    per_epoch = trainer.settings.max_steps // 3
    assert ends == [per_epoch, 2 * per_epoch, 3 * per_epoch]
    samples = of_kind(trainer, Sample)
    assert [sample.step for sample in samples] == [0, *ends]
    text = "ab"
    with evaluating(trainer.model):
        for _ in range(CONFIG.sample_tokens):  # the document's own way, cropped to the context
            ids = torch.from_numpy(tiny.tokenizer.encode(text))[None, -CONFIG.block_size :]
            text += tiny.tokenizer.decode([int(trainer.model(ids)[0][0, -1].argmax())])
    assert samples[-1].text == text


def test_the_test_part_is_measured_once_at_the_end(tiny: Corpus) -> None:
    trainer = finished(trainer_of(tiny))
    expected = split_loss(trainer.model, tiny.test, CONFIG.block_size)
    trainer.advance()
    trainer.observer.test()
    assert channel(trainer, "test/loss") == {trainer.step - 1: expected}
    assert [event.name for event in of_kind(trainer, Event)].count("test") == 1


def test_nothing_but_the_end_touches_the_test_part(tiny: Corpus) -> None:
    changed_test = Corpus(**{**vars(tiny), "test": tiny.test.flip(0)})
    one, other = trainer_of(tiny), trainer_of(changed_test)
    for trainer in (one, other):
        trainer.observer.show_start()
        for _ in range(trainer.settings.max_steps):
            trainer.advance()
    assert channel(one, "val/loss") == channel(other, "val/loss")
    assert [row.loss for row in of_kind(one, Scalars)] == [row.loss for row in of_kind(other, Scalars)]


@pytest.mark.parametrize("before", [0, 3, 8, 13])  # within an epoch of 8 steps, at its end, in the next
def test_a_restored_trainer_goes_on_in_mid_epoch_bit_for_bit(tiny: Corpus, before: int) -> None:
    config = changed(CONFIG, dropout=0.2)
    trainer, other = trainer_of(tiny, config), trainer_of(tiny, config)
    for _ in range(before):
        trainer.advance()
    kept = take_snapshot(trainer)
    other.advance()
    restore(other, kept)
    copy = replay(config, tiny, PausedState(kept, STAGES.index("backward")))
    for _ in range(20):
        trainer.advance()
        other.advance()
        copy.advance()
        assert trainer.recorder.loss == other.recorder.loss == copy.recorder.loss
    for mine, its, third in zip(trainer.parameters, other.parameters, copy.parameters, strict=True):
        assert torch.equal(mine, its) and torch.equal(mine, third)
    assert trainer.epoch == other.epoch == copy.epoch


# ---------------------------------------------------------------- runs


def test_a_run_ends_after_its_epochs_and_may_go_on(tiny: Corpus, make_run, wait_until) -> None:
    run = make_run(CONFIG, SETTINGS, tiny)
    steps = 3 * tiny.steps_per_epoch(8, 4)
    assert run.settings.max_steps == run.first_settings.max_steps == steps
    run.start()
    wait_until(lambda: run.state is State.DONE)
    assert run.step == steps
    assert (run.status().epoch, run.status().epochs) == (3, 3)
    run.tune(changed(run.settings, max_steps=steps + 1))
    wait_until(lambda: run.step == steps + 1 and run.state is State.DONE)
    assert run.status().epoch == 4


def test_fewer_steps_end_it_earlier_and_more_do_not_make_it_longer(tiny: Corpus) -> None:
    per_epoch = tiny.steps_per_epoch(8, 4)
    assert limit_to_epochs(CONFIG, changed(SETTINGS, max_steps=7), tiny).max_steps == 7
    assert limit_to_epochs(CONFIG, SETTINGS, tiny).max_steps == 3 * per_epoch
    assert limit_to_epochs(changed(CONFIG, epochs=None), SETTINGS, tiny) == SETTINGS


def test_a_batch_larger_than_an_epoch_is_refused(tiny: Corpus) -> None:
    there = window_count(len(tiny.train), 8)
    with pytest.raises(
        InputError, match=rf"batch_size 500 is more than the {there} windows .*; choose at most {there}"
    ):
        limit_to_epochs(CONFIG, changed(SETTINGS, batch_size=500), tiny)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs 0 is not possible; choose at least 1"),
        ({"model": "line"}, "epochs 3 is for models of text; line learns from points"),
        ({"draws": "lecture"}, "epochs 3 does not go with draws 'lecture'"),
    ],
)
def test_what_does_not_go_by_epochs_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        changed(CONFIG, **changes)


def test_links_carry_epochs() -> None:
    experiment, notices = link.read({"preset": "gpt-tiny", "epochs": "3"})
    assert (experiment.config.epochs, experiment.settings.max_steps, notices) == (3, MAX_STEPS, [])
    assert link.read({"preset": "gpt-tiny", "epochs": "3", "max_steps": "7"})[0].settings.max_steps == 7
    assert link.read({"preset": "gpt-tiny", "epochs": "off"})[0].settings.max_steps == 2000
    experiment, notices = link.read({"preset": "gpt-tiny", "epochs": "none"})
    assert experiment.config.epochs is None and experiment.settings.max_steps == 2000
    assert "epochs=none was ignored" in notices[0]


@pytest.mark.thorough
def test_simple_learns_its_text_by_heart_while_validation_turns(make_run, wait_until) -> None:
    start = preset("simple")
    run = make_run(start.config, start.settings, Corpus.of(NOTEBOOK.read_text(encoding="utf-8"), "ferry-notebook"))
    run.start()
    wait_until(lambda: run.state is State.DONE, timeout=250)
    run.history.add(drain_queue(run.queue))
    (steps, val, _), (_, train, _) = (
        run.history.points_between(name, 0, None) for name in ("val/loss", "eval/train_loss")
    )
    best = int(val.argmin())
    batches = run.history.points_between("train/loss", int(steps[-1]) - 25, None)[1]
    assert batches.mean() < 1.0, "with dropout too"
    assert train[-1] < 1.0 < val.min() < val[-1] - 0.2, "training below 1, validation above it and rising"
    assert 0 < steps[best] < steps[-1] and train[-1] < train[best]
    assert len(run.history.points_between("test/loss", 0, None)[0]) == 1


# ---------------------------------------------------------------- the command line


def test_the_command_line_says_document_001s_lines(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    flags = [
        "--preset",
        "gpt-tiny",
        "--corpus",
        "ferry-notebook",
        "--epochs",
        "2",
        "--block-size",
        "32",
        "--batch-size",
        "16",
        "--json",
    ]
    assert main(["train", *flags]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    losses = [line for line in lines if line.startswith("Ep ")]
    pattern = r"Ep [12] \(Step \d{6}\): Train loss \d\.\d{3}, Val loss \d\.\d{3}"
    assert losses and all(re.fullmatch(pattern, line) for line in losses)
    assert losses[0].startswith("Ep 1 (Step 000000)") and losses[-1].startswith("Ep 2 (Step 000024)")
    result = json.loads(last)
    assert result["step"] == 24 and result["test_loss"] == pytest.approx(result["val_loss"], abs=0.5)
    assert f"Test loss {result['test_loss']:.3f}" in "\n".join(lines)
    assert result["best_val_step"] in (0, 24)


def test_epochs_off_leaves_the_output_as_it_was(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    assert main(["train", "--max-steps", "3", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["test_loss"] is None


@pytest.mark.parametrize(("tokens", "says"), [(9, "a single window of 8 tokens"), (17, "only 2 windows"), (200, None)])
def test_a_run_by_epochs_says_where_validation_is_a_single_window(tokens: int, says: str | None) -> None:
    text = "abcdefgh ij" * 400
    corpus = Corpus.of(text, "few", tokens / len(text), 0.0)
    assert len(corpus.val) == pytest.approx(tokens, abs=1)
    trainer = trainer_of(corpus)
    trainer.observer.show_start()
    told = [event.text for event in of_kind(trainer, Event) if event.name == "validation"]
    assert [says in text for text in told] == ([] if says is None else [True])
