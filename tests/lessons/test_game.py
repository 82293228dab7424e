"""You against the model: Shannon's bounds, the room's cross-entropy, and figures at the same places."""

from __future__ import annotations

import math
import random

import pytest
import torch

from engine.config import changed
from engine.errors import InputError
from engine.lessons.game.alone import Alone, in_groups
from engine.lessons.game.passage import (
    LEAD,
    Passage,
    StoredFigure,
    choose_passage,
    counted_figures,
    model_losses,
    overtakes,
    stored_figures,
)
from engine.lessons.game.shannon import entropy_bounds, mean, rank_losses, room_surprises, surprise
from engine.models.registry import build_language_model
from engine.presets import preset
from engine.storage import reader
from engine.stream.status import State
from engine.text.bigram_counts import BigramCounts
from engine.text.corpus import Corpus
from engine.training.evaluation import split_loss

CONFIG, SETTINGS = preset("bigram").config, preset("bigram").settings

# "There is no reverse on a motorcycle …": of 102 symbols 79 at the first guess, 8 at the second, 3 at the third, 2 each
# at the fourth and fifth; eight took more, as printed under the text: 15, 17, 7, 8, 6, 6, 11, 6.
SHANNON_1951 = [1] * 79 + [2] * 8 + [3] * 3 + [4] * 2 + [5] * 2 + [15, 17, 7, 8, 6, 6, 11, 6]


def test_the_bounds_of_shannons_own_example_are_those_computed_by_hand() -> None:
    """Numbers of guesses by how often they were needed: 79, 8, 3, 3, 2, 2, and five needed once."""
    assert len(SHANNON_1951) == 102
    by_hand = (
        (79 / 102) * math.log(102 / 79)
        + (8 / 102) * math.log(102 / 8)
        + 2 * (3 / 102) * math.log(102 / 3)
        + 2 * (2 / 102) * math.log(102 / 2)
        + 5 * (1 / 102) * math.log(102)
    )
    lower = (
        1 * (79 - 8) * math.log(1)
        + 2 * (8 - 3) * math.log(2)
        + 3 * (3 - 3) * math.log(3)
        + 4 * (3 - 2) * math.log(4)
        + 5 * (2 - 2) * math.log(5)
        + 6 * (2 - 1) * math.log(6)
        + 11 * (1 - 0) * math.log(11)
    ) / 102
    found = entropy_bounds(SHANNON_1951)
    assert found.upper == pytest.approx(by_hand, rel=1e-12) and found.lower == pytest.approx(lower, rel=1e-12)
    bits = found.lower / math.log(2), found.upper / math.log(2)
    assert 0.5 < bits[0] < 0.8 and 1.2 < bits[1] < 1.5, "near the 0.6 and 1.3 that the paper gives for long contexts"


def test_bounds_at_the_ends() -> None:
    assert entropy_bounds([1, 1, 1]) == (0, 0)
    even = entropy_bounds(list(range(1, 28)))
    assert even.lower == pytest.approx(math.log(27)) and even.upper == pytest.approx(math.log(27))
    for wrong in ([], [1, 0]):
        with pytest.raises(InputError, match="no bounds without guesses"):
            entropy_bounds(wrong)


def test_the_lower_bound_is_never_above_the_upper_one() -> None:
    draws = random.Random(7)
    for _ in range(200):
        ranks = [min(27, 1 + int(draws.expovariate(draws.uniform(0.1, 3)))) for _ in range(draws.randint(1, 60))]
        found = entropy_bounds(ranks)
        assert 0 <= found.lower <= found.upper + 1e-12


def test_the_rooms_cross_entropy_equals_an_independent_computation() -> None:
    """The pooled belief as a distribution over all characters, its cross-entropy by torch."""
    alphabet, draws = "abcdefgh ", random.Random(3)
    passage = "a bad cafe"
    votes = [[draws.choice(alphabet) for _ in range(draws.randint(0, 30))] for _ in passage]
    belief = torch.tensor([[given.count(one) + 0.1 for one in alphabet] for given in votes], dtype=torch.float64)
    belief /= belief.sum(1, keepdim=True)
    targets = torch.tensor([alphabet.index(one) for one in passage])
    expected = torch.nn.functional.nll_loss(belief.log(), targets, reduction="none").tolist()
    found = room_surprises(votes, passage, len(alphabet))
    assert found == pytest.approx(expected, rel=1e-12) and mean(found) == pytest.approx(sum(expected) / 10, rel=1e-12)


def test_a_persons_figure_is_a_cross_entropy_with_prices_fixed_beforehand() -> None:
    shares = [math.exp(-loss) for loss in rank_losses(range(1, 74), 73)]
    assert sum(shares) == pytest.approx(1) and shares[:2] == pytest.approx([74 / 146, 74 / 438])
    bad = [19, 5, 9, 3, 4, 3, 11]
    assert entropy_bounds(bad).upper < math.log(7) and mean(rank_losses(bad, 73)) > math.log(20)


def test_surprise_by_hand() -> None:
    assert surprise(3, 10, 5, smoothing=1) == pytest.approx(-math.log(4 / 15))
    assert surprise(0, 0, 73) == pytest.approx(math.log(73)), "without a vote it is guessing"
    with pytest.raises(InputError, match="votes at 1 positions and 2 characters"):
        room_surprises([["a"]], "ab", 5)
    with pytest.raises(InputError, match="no mean of nothing"):
        mean([])


def test_a_models_figure_equals_evaluate_on_the_same_positions(corpus: Corpus) -> None:
    """A bigram over its whole split; a GPT, which reads up to its context, over one window of the split."""
    bigram = build_language_model(CONFIG, corpus.vocab_size, torch.Generator().manual_seed(1))
    found = mean(model_losses(bigram, corpus.val, range(1, len(corpus.val))))
    assert found == pytest.approx(split_loss(bigram, corpus.val, 8), rel=1e-6)
    config = changed(preset("gpt-tiny").config, dropout=0.5)
    gpt = build_language_model(config, corpus.vocab_size, torch.Generator().manual_seed(1))
    window = corpus.val[: config.block_size + 1]
    found = mean(model_losses(gpt, window, range(1, len(window))))
    assert found == pytest.approx(split_loss(gpt, window, config.block_size), rel=1e-5) and gpt.training


def test_a_model_never_sees_what_is_to_be_guessed(corpus: Corpus) -> None:
    gpt = build_language_model(preset("gpt-tiny").config, corpus.vocab_size, torch.Generator().manual_seed(1))
    data = corpus.val[:60].clone()
    before = model_losses(gpt, data, [40])
    data[41:] = 0
    assert model_losses(gpt, data, [40]) == before
    data[39] = (data[39] + 1) % corpus.vocab_size
    assert model_losses(gpt, data, [40]) != before


def test_counting_costs_what_the_counts_say(corpus: Corpus) -> None:
    passage = choose_passage(corpus, seed=4, count=12)
    found = counted_figures(passage, smoothing=0.1)
    text, size = corpus.tokenizer.decode(corpus.train.tolist()), corpus.vocab_size
    before, right = passage.lead[-1] + passage.hidden, passage.hidden
    for place, one in enumerate(right):
        pair = sum(text.startswith(before[place] + one, at) for at in range(len(text) - 1))
        often = text[:-1].count(before[place])
        assert found.letters[place] == pytest.approx(-math.log((text.count(one) + 0.1) / (len(text) + 0.1 * size)))
        assert found.pairs[place] == pytest.approx(-math.log((pair + 0.1) / (often + 0.1 * size)))
    assert found.guessing == pytest.approx([math.log(size)] * 12)
    counts = BigramCounts.of(corpus)
    assert counts is not None and mean(found.pairs) < mean(found.letters) < mean(found.guessing)


def test_passages_lie_in_the_validation_split_and_begin_with_a_word(corpus: Corpus) -> None:
    text = corpus.tokenizer.decode(corpus.val.tolist())
    found = [choose_passage(corpus, seed) for seed in range(30)]
    assert len({one.first for one in found}) > 20 and choose_passage(corpus, 5).first == found[5].first
    for one in found:
        assert one.hidden == text[one.first : one.first + one.count] and text[one.first - LEAD : one.first].endswith(
            one.lead
        )
        assert one.lead[-1] == " " and set(one.hidden) <= set(one.alphabet)


def test_texts_that_cannot_be_played_are_refused(play: str) -> None:
    with pytest.raises(InputError, match="too few to guess 20; choose a longer text"):
        choose_passage(Corpus.of(play[:200]), 1)


def test_the_figure_at_each_stored_moment_and_the_step_that_overtakes(manager, wait_until) -> None:
    config = changed(CONFIG, corpus="tiny", snapshot_every=20)
    run = manager.start(config, changed(SETTINGS, lr=0.1, max_steps=60, speed="unlimited"))
    wait_until(lambda: run.state is State.DONE, 120)
    manager.flush(run)
    passage = Passage(run.corpus, 3, 15)
    asked: list[tuple[int, int]] = []
    found = list(
        stored_figures(reader.open_run(run.id), passage, lambda what, done, total: asked.append((done, total)))
    )
    steps = [one.step for one in found]
    assert steps == sorted(steps) and {0, 20, 40, 60} <= set(steps) and len(asked) == len(steps)
    model = build_language_model(config, run.corpus.vocab_size).load_weights(run.copy_weights()[1])
    data = run.corpus.val[2:18]  # the same 15 targets, each with its character before it
    assert found[-1].loss == pytest.approx(split_loss(model, data, 15), rel=1e-6)
    between = (found[-1].loss + min(one.loss for one in found[:-1])) / 2
    assert overtakes(found, between) == 60 and overtakes(found, 0) is None
    assert overtakes([StoredFigure(5, 2.0)], 2.0) is None, "as good is not better"


def test_alone_each_character_is_guessed_until_it_is_right(corpus: Corpus) -> None:
    game = Alone(choose_passage(corpus, 2, count=3))
    right = game.passage.hidden
    wrong = [one for one in game.passage.alphabet if one not in right][:2]
    assert not game.guess(wrong[0]) and not game.guess(wrong[1]) and wrong[0] not in game.left
    with pytest.raises(InputError, match="was tried before"):
        game.guess(wrong[0])
    with pytest.raises(InputError, match="no character of this text"):
        game.guess("\N{SNOWMAN}")
    assert game.guess(right[0]) and game.ranks == [3] and game.tried == []
    assert game.guess(right[1])
    game.show()
    assert game.ranks == [3, 1, corpus.vocab_size] and game.done and game.told == 1
    assert game.bounds.upper == pytest.approx(math.log(3))
    with pytest.raises(InputError, match="guessed to its end"):
        game.guess("e")


def test_keys_stand_in_groups() -> None:
    assert in_groups(["\n", " ", "!", "1", "A", "a", "b", "ß", "—"]) == ["a", "b", "ß", "\n", " ", "!", "—", "A", "1"]
