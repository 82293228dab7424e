"""A text by its numbers, against counting with plain Python."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis.text_statistics import MOST_SHOWN, TextStatistics, unseen_token_loss
from engine.models.bigram import Bigram
from engine.models.gpt import GPT
from engine.paths import SHIPPED_FOLDER
from engine.text.corpus import Corpus

LETTERS = st.text(alphabet="abcdeé \n<", min_size=30, max_size=300).filter(lambda text: len(set(text)) > 1)


@given(LETTERS)
def test_counts_against_plain_python(text: str) -> None:
    corpus = Corpus.of(text)
    told, labels = TextStatistics.of(corpus), corpus.tokenizer.vocab
    train, val = (corpus.tokenizer.decode(part.numpy()) for part in (corpus.train, corpus.val))
    assert sum(told.splits.values()) == told.characters == len(text)
    assert list(told.splits) == ["training", "validation", "test"]
    assert {labels[one.tokens[0]]: one.times for one in told.singles} == dict(Counter(train).most_common(MOST_SHOWN))
    pairs = Counter(itertools.pairwise(train))
    assert all(pairs[labels[a], labels[b]] == times for (a, b), times in told.pairs)
    assert [one.times for one in told.pairs] == sorted(pairs.values(), reverse=True)[:MOST_SHOWN]
    only = Counter(letter for letter in val if letter not in train)
    assert {labels[one.tokens[0]]: one.times for one in told.unseen} == dict(only)
    following = list(itertools.pairwise(val))
    assert told.val_pairs == len(following)
    assert told.new_pairs == sum(pair not in pairs for pair in following)


def test_the_shipped_diary_has_a_letter_that_training_never_sees() -> None:
    told = TextStatistics.of(Corpus.of((SHIPPED_FOLDER / "ferry-notebook.txt").read_text(encoding="utf-8")))
    assert [(told.tokenizer.labels[one.tokens[0]], one.times) for one in told.unseen] == [("q", 1)]


@pytest.mark.parametrize("kind", ["bigram", "gpt"])
def test_surprise_against_one_window_at_a_time(kind: str) -> None:
    draws = torch.Generator().manual_seed(0)
    model = (
        Bigram(6, draws) if kind == "bigram" else GPT(6, block_size=4, n_layer=1, n_head=1, n_embd=8, generator=draws)
    )
    val = torch.tensor([0, 1, 2, 5, 1, 0, 3, 3, 0, 1, 1, 2, 2, 5, 5, 0, 1], dtype=torch.uint8)
    told = unseen_token_loss(model, val, [5], 4)
    itself, after, others, used = [], [], [], 0
    for start in range(0, 16, 4):
        window = val[start : start + 5].long()
        if 5 not in window.tolist():
            continue
        used += 1
        losses = F.cross_entropy(model.logits(window[None, :-1])[0], window[1:], reduction="none").tolist()
        for given_token, target, loss in zip(window[:-1].tolist(), window[1:].tolist(), losses, strict=True):
            (itself if target == 5 else after if given_token == 5 else others).append(loss)
    assert told.windows == used == 2
    for mine, theirs in ((told.itself, itself), (told.after, after), (told.others, others)):
        assert mine == pytest.approx(sum(theirs) / len(theirs), rel=1e-6)


def test_nothing_unseen_costs_nothing() -> None:
    assert unseen_token_loss(Bigram(3), torch.tensor([0, 1, 2, 0, 1]), [], 2) == (None, None, None, 0)


def test_a_table_of_zeros_pays_the_same_for_every_token() -> None:
    model = Bigram(4)
    torch.nn.init.zeros_(model.token_embedding.weight)
    told = unseen_token_loss(model, torch.tensor([0, 3, 1, 0, 1, 2]), [3], 5)
    assert [told.itself, told.after, told.others] == pytest.approx([math.log(4)] * 3)
