"""How far a bigram is from its text: against plain counting, and against the loss that training sees."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from engine.config import changed
from engine.models.bigram import Bigram
from engine.presets import PRESETS
from engine.stream.messages import Observation, Scalars
from engine.text.baselines import Baselines
from engine.text.bigram_counts import MOST_TOKENS, BigramCounts
from engine.text.corpus import Corpus
from engine.training.evaluation import split_loss
from engine.training.observer import Observer
from engine.training.trainer import Trainer

SHORT = changed(PRESETS["bigram"].settings, max_steps=300)


def frequencies(corpus: Corpus) -> BigramCounts:
    found = BigramCounts.of(corpus)
    assert found is not None
    return found


def random_table(size: int) -> torch.Tensor:
    return torch.randn(size, size, generator=torch.Generator().manual_seed(3))


def test_pairs_against_a_counter(corpus: Corpus) -> None:
    ids = corpus.train.tolist()
    counted = Counter(pairwise(ids))
    following = frequencies(corpus).following
    assert following.shape == (corpus.vocab_size, corpus.vocab_size)
    assert {tuple(pair): int(following[tuple(pair)]) for pair in np.argwhere(following).tolist()} == dict(counted)
    assert following.sum() == len(ids) - 1
    rows = frequencies(corpus).conditional_probabilities().sum(axis=1)
    assert ((np.abs(rows - 1) < 1e-12) | (rows == 0)).all()


def test_the_divergence_is_the_exact_loss_less_the_floor(corpus: Corpus) -> None:
    """The split has n - 1 targets and n - 1 pairs: a target for each token but the first, each with one before it."""
    model = Bigram(corpus.vocab_size, torch.Generator().manual_seed(0))
    found = frequencies(corpus)
    loss = split_loss(model, corpus.train, block_size=8)
    assert found.floor == pytest.approx(Baselines.of(corpus).bigram, rel=1e-12)
    assert found.divergence(model.token_embedding.weight) == pytest.approx(loss - found.floor, abs=2e-6)


def test_the_divergence_by_its_definition(tiny: Corpus) -> None:
    found = frequencies(tiny)
    table = random_table(tiny.vocab_size)
    model = torch.softmax(table.double(), dim=1)
    joint = torch.from_numpy(found.following / found.following.sum())
    given = torch.from_numpy(found.conditional_probabilities())
    terms = [float(joint[i, j] * (given[i, j] / model[i, j]).log()) for i, j in np.argwhere(found.following).tolist()]
    assert found.divergence(table) == pytest.approx(math.fsum(terms), abs=1e-6)
    rows = found.divergences(table)
    firsts = found.following.sum(axis=1) / found.following.sum()
    assert np.nansum(firsts * rows) == pytest.approx(found.divergence(table), abs=1e-6)
    i = int(firsts.argmax())
    expected = torch.nn.functional.kl_div(model[i].log(), given[i], reduction="sum")
    assert rows[i] == pytest.approx(float(expected), abs=1e-9)


def test_a_table_of_the_logarithms_of_the_shares_has_nothing_left_to_learn(corpus: Corpus) -> None:
    found = frequencies(corpus)
    table = torch.from_numpy(np.log(np.maximum(found.conditional_probabilities(), 1e-12))).float()
    assert found.divergence(table) == pytest.approx(0, abs=1e-5)


def test_a_zero_table_is_as_far_as_guessing(corpus: Corpus) -> None:
    found = frequencies(corpus)
    assert found.divergence(torch.zeros(corpus.vocab_size, corpus.vocab_size)) == pytest.approx(
        math.log(corpus.vocab_size) - found.floor, abs=1e-6
    )


def test_a_large_vocabulary_is_not_counted() -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + MOST_TOKENS + 1)))
    assert BigramCounts.of(Corpus.of(text, val_fraction=0, test_fraction=0)) is None


def trained(corpus: Corpus, **changes: Any) -> tuple[list[Scalars], list[tuple[int, float]], Trainer]:
    """Rows and the `kl` channel of a short run."""
    records: list[Any] = []
    trainer = Trainer(PRESETS["bigram"].config, changed(SHORT, **changes), corpus, records.append)
    trainer.observer.show_start()
    for _ in range(trainer.settings.max_steps):
        trainer.advance()
    seen = [(r.step, r.scalars["kl"]) for r in records if isinstance(r, Observation) and "kl" in r.scalars]
    return [r for r in records if isinstance(r, Scalars)], seen, trainer


def test_the_channel_begins_at_step_0_and_falls_to_about_nothing(corpus: Corpus) -> None:
    _, seen, trainer = trained(corpus, lr=0.03, max_steps=3000)
    steps = [step for step, _ in seen]
    assert steps[0] == 0 and steps == sorted(steps) and steps[-1] == 3000
    assert seen[0][1] > 2
    assert seen[-1][1] < 0.03
    floor = frequencies(corpus).floor
    assert isinstance(trainer.model, Bigram)
    assert split_loss(trainer.model, corpus.train, 8) == pytest.approx(floor + seen[-1][1], abs=2e-6)


def test_the_channel_changes_no_loss(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    with_it, seen, _ = trained(corpus)
    monkeypatch.setattr(Observer, "_divergence", lambda self: {})
    without, none, _ = trained(corpus)
    assert seen and not none
    assert [row.loss for row in with_it] == [row.loss for row in without]


def test_a_gpt_has_no_such_channel(corpus: Corpus) -> None:
    records: list[Any] = []
    start = PRESETS["gpt-tiny"]
    trainer = Trainer(start.config, start.settings, corpus, records.append)
    trainer.observer.show_start()
    trainer.advance()
    assert not any("kl" in r.scalars for r in records if isinstance(r, Observation))


def test_it_agrees_on_every_device(corpus: Corpus, device: str) -> None:
    table = random_table(corpus.vocab_size)
    found = frequencies(corpus)
    there: Callable[[torch.Tensor], float] = lambda t: found.divergence(t.to(device))  # noqa: E731
    assert there(table) == pytest.approx(found.divergence(table), abs=1e-5)
