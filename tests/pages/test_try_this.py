"""Try this: every figure that a suggestion promises is computed here, on the shipped texts with the default seed."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from engine.analysis.least_squares import fit_polynomial, largest_stable_lr, loss_at
from engine.analysis.text_statistics import TextStatistics, unseen_token_loss
from engine.config import changed
from engine.lessons.experiments import Pacer, Start, batches, clearing
from engine.presets import preset
from engine.runs.datasets import make_tokenizer
from engine.text.bigram_counts import BigramCounts
from engine.text.corpus import Corpus
from engine.text.points import Points, read_points
from engine.training.evaluation import split_loss
from engine.training.projection import centred, cosines, neighbours
from engine.training.sampling import generate
from engine.training.trainer import Trainer
from pages.views.shared.try_this import SENTENCE, SUGGESTIONS
from tests.conftest import ROOT

DOES = {trial.title: trial.does for trials in SUGGESTIONS.values() for trial in trials}
NUMBER = r"(\d[\d,]*(?:\.\d+)?)"


def told(title: str, sentence: str) -> list[float]:
    """The numbers of a suggestion that stand in place of each # of `sentence`."""
    pattern = re.escape(sentence).replace(r"\#", NUMBER)
    found = re.search(pattern, DOES[title])
    assert found, f"{title!r} does not say {sentence!r}: {DOES[title]}"
    return [float(group.replace(",", "")) for group in found.groups()]


def train(
    corpus: Corpus | Points, steps: int, name: str = "bigram", watch=lambda _: None, config=None, **live
) -> tuple[Trainer, list[float]]:
    """A trainer after `steps` steps, and the loss of each; `watch` sees it after every step."""
    start = preset(name)
    settings = changed(start.settings, speed="unlimited", max_steps=10**6, **live)
    trainer = Trainer(changed(start.config, **(config or {})), settings, corpus, lambda _: None)
    trainer.unwatched = True
    losses = []
    for _ in range(steps):
        trainer.advance()
        losses.append(trainer.recorder.loss)
        watch(trainer)
    return trainer, losses


@pytest.fixture(scope="module")
def gpt(corpus) -> tuple[Trainer, list[float]]:
    return train(corpus, 1000, "gpt-tiny")


@pytest.fixture(scope="module")
def bigram(corpus) -> Trainer:
    return train(corpus, 3000, lr=0.01)[0]


@pytest.fixture(scope="module")
def diary() -> Corpus:
    return Corpus.of((ROOT / "data" / "ferry-notebook.txt").read_text("utf-8"), "ferry-notebook")


def test_every_figure_is_looked_after_here() -> None:
    here = (ROOT / "tests" / "pages" / "test_try_this.py").read_text("utf-8")
    counted = {title for title, does in DOES.items() if re.search(r"\d", does)}
    assert counted - set(re.findall(r'told\(\s*"([^"]+)"', here)) <= {"Five equal rows", "Where it looks", "No minimum"}


def test_at_rate_10_the_losses_range_as_told(corpus) -> None:
    low, high = told("Too large a step", "the loss leaps between # and #")
    _, losses = train(corpus, 3000, lr=10.0)
    after = losses[100:]
    assert (min(after), max(after)) == (pytest.approx(low, abs=0.1), pytest.approx(high, abs=0.2))
    (floor,) = told("Too large a step", "this model's floor is #:")
    counts = BigramCounts.of(corpus)
    assert counts is not None and counts.floor == pytest.approx(floor, abs=0.005)
    steps, loss = told("Too large a step", "after # steps the training loss is #.")
    trainer, _ = train(corpus, int(steps), lr=0.1)
    assert split_loss(trainer.model, corpus.train, 64) == pytest.approx(loss, abs=0.02)


def test_sgd_stays_at_adamws_rate_and_learns_at_30(corpus) -> None:
    steps, rate, later, loss = (
        *told("Plain gradient descent", "after # steps it has moved by less than the batches scatter"),
        *told("Plain gradient descent", "Type # as the learning rate"),
        *told("Plain gradient descent", ": # steps later the loss is about #."),
    )
    trainer, losses = train(corpus, int(steps), config={"optimizer": "sgd"}, lr=1e-3, weight_decay=0.0)
    assert abs(np.mean(losses[-100:]) - np.mean(losses[:100])) < np.std(losses[:100])
    trainer.tune(changed(trainer.settings, lr=rate))
    for _ in range(int(later)):
        trainer.advance()
    assert split_loss(trainer.model, corpus.train, 64) == pytest.approx(loss, abs=0.05)


def test_the_small_gpt_passes_the_floor_where_it_says(gpt) -> None:
    _, losses = gpt
    floor, step, last, loss = (
        *told("Look back further", "It passes #, the floor"),
        *told("Look back further", "after about # steps"),
        *told("Look back further", "is at # after"),
        *told("Look back further", "after #; read"),
    )
    smooth = np.convolve(losses, np.ones(20) / 20, "valid")
    assert int(np.argmax(smooth < floor)) + 10 == pytest.approx(step, abs=50)
    assert loss == len(losses) and np.mean(losses[-50:]) == pytest.approx(last, abs=0.05)


def test_forgetting_to_clear_comes_to_what_it_says(corpus) -> None:
    steps, without, kept = told("Forget to clear", "after # steps # against #.")
    start = Start(preset("bigram").config, preset("bigram").settings, corpus)
    found = clearing.never_cleared_sgd(start, Pacer(), int(steps)).numbers
    assert (found["without"], found["with"]) == (pytest.approx(without, abs=0.1), pytest.approx(kept, abs=0.05))


def test_a_window_and_256_point_as_far_away_as_it_says(corpus) -> None:
    one, many = told("One window, or 256", "With one window about #°, with 256 windows about #°")
    start = Start(preset("bigram").config, preset("bigram").settings, corpus)
    found = batches.batch_sizes(start, Pacer()).numbers
    assert (found["angle_1"], found["angle_256"]) == (pytest.approx(one, abs=3), pytest.approx(many, abs=2))


def test_cold_a_bigram_writes_newlines_only(bigram, corpus) -> None:
    assert told("Cold and hot", "Generate at temperature #, then at #") == [0.1, 2]
    assert told("Cold and hot", "a bigram of # steps at learning rate #") == [3000, 0.01]
    newline = corpus.tokenizer.vocab.index("\n")
    made = generate(bigram.model.eval(), [newline], 120, torch.Generator().manual_seed(0), 0.1)
    assert set(corpus.tokenizer.decode(made.ids)) == {"\n"}


def test_vowels_find_each_other_and_all_rows_are_alike(bigram, corpus) -> None:
    assert told("Vowels find each other", "for # steps") == told("Everybody is alike", "after # steps") == [3000]
    table, vocab = bigram.model.token_embedding.weight.detach(), corpus.tokenizer.vocab
    e = vocab.index("e")
    nearest = [vocab[one.row] for one in neighbours(centred(table), centred(table)[e], leave_out=[e])]
    assert "The rows most like that of e are then r, o, u and a" in DOES["Vowels find each other"]
    assert set(nearest[:4]) == set("roua")
    (alike,) = told("Everybody is alike", "the cosines average #.")
    among = cosines(table)
    assert (float(among.sum()) - len(among)) / (len(among) * (len(among) - 1)) == pytest.approx(alike, abs=0.05)


def test_digits_gather_in_the_small_gpt(gpt, corpus) -> None:
    (steps, cosine) = (*told("Digits gather", "after # steps"), *told("Digits gather", "at a cosine near #;"))
    trainer, losses = gpt
    assert steps == len(losses)
    table, vocab = trainer.model.token_embedding.weight.detach(), corpus.tokenizer.vocab
    one = vocab.index("1")
    found = neighbours(centred(table), centred(table)[one], leave_out=[one])[:4]
    assert {vocab[each.row] for each in found} == set("4253")
    assert np.mean([each.cosine for each in found]) == pytest.approx(cosine, abs=0.07)


def test_just_above_the_edge_the_line_swings() -> None:
    start = preset("document-002-line")
    pairs = read_points(start.config.points)
    (most,) = told("Just above the edge", "for the three points is #.")
    assert largest_stable_lr(pairs) == pytest.approx(most, abs=5e-5)
    rate, first, tenth = told(
        "Just above the edge", "At # the line swings wider and wider: the loss is # at first and #"
    )
    _, losses = train(Points.of(start.config), 10, "document-002-line", lr=rate)
    assert (losses[0], losses[9]) == (pytest.approx(first, abs=0.05), pytest.approx(tenth, abs=0.5))
    rate, a, b = told("Just above the edge", "At # it settles at a = #, b = #.")
    trainer, _ = train(Points.of(start.config), 1000, "document-002-line", lr=rate)
    settled = {name: float(value.detach()) for name, value in trainer.model.scalars().items()}
    assert settled == {"a": pytest.approx(a, abs=0.01), "b": pytest.approx(b, abs=0.01)}


def test_the_fourth_point_settles_as_told() -> None:
    a, b, error = told("The fourth point", "settles at a = #, b = # with a mean squared error of #;")
    pairs = [(1.0, 3.0), (2.0, 5.0), (3.0, 7.0), (4.0, 8.0)]
    assert fit_polynomial(pairs, 1).coefficients == (pytest.approx(b), pytest.approx(a))
    assert loss_at(pairs, a, b) == pytest.approx(error)


def test_a_letter_never_seen_costs_what_it_says(diary) -> None:
    steps, itself, others = told(
        "A letter never seen", "after # steps with the default settings # nats, those around it #."
    )
    told_of = TextStatistics.of(diary)
    assert [(diary.tokenizer.vocab[one.tokens[0]], one.times) for one in told_of.unseen if one.times == 1][:1] == [
        ("q", 1)
    ]
    trainer, _ = train(diary, int(steps))
    paid = unseen_token_loss(trainer.model, diary.val, [diary.tokenizer.vocab.index("q")], trainer.config.block_size)
    assert paid.itself == pytest.approx(itself, abs=0.2) and paid.others == pytest.approx(others, abs=0.2)


def test_the_byte_pair_trial_counts_its_own_sentence(play) -> None:
    assert f"Cut “{SENTENCE}” into byte pairs" in DOES["Fewer, longer tokens"]
    (characters,) = told("Fewer, longer tokens", "Its # characters")
    assert characters == len(SENTENCE)
    pairs = [
        told("Fewer, longer tokens", "are # tokens when # are learnt"),
        told("Fewer, longer tokens", "# with # and")[:2],
        told("Fewer, longer tokens", "and # with #;"),
    ]
    for count, size in pairs:
        config = changed(preset("bigram").config, tokenizer="bpe", vocab_size=int(size))
        assert len(make_tokenizer(play, config).encode(SENTENCE)) == count


@pytest.mark.thorough
def test_the_diarys_lowest_validation_is_where_it_says(diary) -> None:
    (characters,) = told("Too short a text", "the diary of # characters")
    assert characters == diary.characters
    low, at, end, last = told("Too short a text", "lowest, about #, near step # and # after #:")
    found: dict[int, float] = {}

    def watch(trainer: Trainer) -> None:
        if trainer.step % 100 == 0:
            found[trainer.step] = split_loss(trainer.model, diary.val, 64)

    train(diary, int(last), watch=watch, lr=0.01)
    best = min(found, key=lambda step: found[step])
    assert best == pytest.approx(at, abs=400) and found[best] == pytest.approx(low, abs=0.01)
    assert found[int(last)] == pytest.approx(end, abs=0.02)
    assert found[2000] > found[best], "not near 2,000"
