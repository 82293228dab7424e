"""Words learned from context: what the rows of a bigram of words say of synonyms, antonyms, part and whole."""

from __future__ import annotations

import numpy as np
import pytest

from engine.lessons.word_relations import PAIRS, SENTENCES, word_relations


def contexts() -> tuple[list[str], np.ndarray]:
    """Words, and how often each (row) is followed by each (column), counted by hand."""
    words = sorted({word for sentence in SENTENCES for word in sentence.split()})
    counts = np.zeros((len(words), len(words)))
    for sentence in SENTENCES:
        follow = sentence.split()
        for at in range(len(follow) - 1):
            counts[words.index(follow[at]), words.index(follow[at + 1])] += 1
    return words, counts


def test_synonyms_antonyms_and_one_category_become_alike_and_part_and_whole_do_not() -> None:
    found = {one.kind: one for one in word_relations().relations}
    assert [(one.kind, one.one, one.other) for one in found.values()] == list(PAIRS)
    for kind in ("synonyms", "antonyms", "one category"):
        assert found[kind].after > 0.7 and abs(found[kind].before) < 0.5
        assert found[kind].together == 0, "no sentence names both"
    assert found["part and whole"].after < 0.5 and found["part and whole"].together == 3 / 5
    assert found["nothing in common"].after < 0.4
    words, counts = contexts()
    for one in found.values():  # alike exactly where the same words follow
        a, b = counts[words.index(one.one)], counts[words.index(one.other)]
        shared = float(a @ b / np.sqrt((a @ a) * (b @ b)))
        assert (shared > 0.9) == (one.after > 0.7), one


def test_king_minus_man_plus_woman_is_learnt_and_its_loss_comes_to_what_counting_says() -> None:
    found = word_relations()
    assert found.sum_after[0] == "queen" and found.sum_before[0] != "queen"
    words, counts = contexts()
    assert found.words == len(words)
    rows = counts.sum(axis=1, keepdims=True)
    floor = -(counts * np.log(np.where(counts, counts / np.maximum(rows, 1), 1))).sum() / counts.sum()
    assert floor < found.loss_after < floor + 0.05
    assert found.loss_before == pytest.approx(np.log(len(words)), abs=1)
