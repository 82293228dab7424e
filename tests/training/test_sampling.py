from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.config import changed
from engine.errors import InputError
from engine.models.base import Dropout
from engine.models.bigram import Bigram
from engine.models.gpt import GPT
from engine.models.registry import build
from engine.presets import PRESETS
from engine.stream.messages import Event
from engine.text.corpus import Corpus
from engine.training.sampling import confidence, evaluating, generate, next_token
from engine.training.trainer import Trainer
from tests.plain import plain


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bigram(*rows: list[float]) -> Bigram:
    """A bigram whose next-token probabilities are `rows`."""
    model = Bigram(len(rows))
    with torch.no_grad():
        model.token_embedding.weight.copy_(torch.tensor(rows).log())
    return model


scores = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12)


@given(scores, st.floats(0.05, 10), st.none() | st.integers(1, 14))
def test_next_token_against_numpy(logits: list[float], temperature: float, top_k: int | None) -> None:
    chances = next_token(torch.tensor(logits), temperature, top_k).numpy()
    values = np.array(logits, np.float64)
    kept = values >= np.sort(values)[::-1][min(top_k or len(values), len(values)) - 1]
    weights = np.where(kept, np.exp((values - values.max()) / temperature), 0)
    np.testing.assert_allclose(chances, weights / weights.sum(), rtol=2e-4, atol=1e-7)


def test_temperature_sharpens_and_flattens() -> None:
    logits = torch.tensor([1.0, 2.0, 4.0])
    assert next_token(logits, 0.01)[2] > 0.9999
    torch.testing.assert_close(next_token(logits, 1e6), torch.full((3,), 1 / 3), atol=1e-5, rtol=0)
    assert int((next_token(logits, 1.0, top_k=2) > 0).sum()) == 2


def test_logits_that_look_like_probabilities_are_not() -> None:
    shares = next_token(torch.tensor([0.1, 0.5, 0.3, 0.1])).tolist()
    assert shares == pytest.approx([0.212, 0.317, 0.259, 0.212], abs=5e-4)


def test_text_follows_the_models_own_probabilities() -> None:
    rows = [[0.1, 0.6, 0.3], [0.5, 0.25, 0.25], [0.2, 0.0, 0.8]]
    made = generate(bigram(*rows), [0], 6000, seeded())
    seen = np.zeros((3, 3))
    for first, second in pairwise(made.ids):
        seen[first, second] += 1
    for row, counts in zip(rows, seen, strict=True):
        n = counts.sum()
        for p, count in zip(row, counts, strict=True):
            assert abs(count / n - p) <= 4.5 * math.sqrt(p * (1 - p) / n), "further off than chance allows"
    assert made.ids[0] == 0 and len(made.ids) == 6001
    expected = [rows[first][second] for first, second in pairwise(made.ids)]
    np.testing.assert_allclose(made.probabilities, expected, rtol=1e-5)


def test_a_seed_gives_the_same_text_on_every_device(device: str) -> None:
    model = build(PRESETS["bigram"].config, 20, seeded())
    here = generate(model, [3], 50, seeded(7))
    there = generate(model.to(device), [3], 50, seeded(7))
    assert here.ids == there.ids
    assert generate(model, [3], 50, seeded(8)).ids != here.ids


def test_a_bigram_samples_as_the_textbook_does() -> None:
    model = Bigram(12, seeded(1))
    generator, row = seeded(2), torch.tensor([[0]])
    for _ in range(40):
        logits, _ = model(row)
        drawn = torch.multinomial(torch.softmax(logits[:, -1, :], dim=-1), 1, generator=generator)
        row = torch.cat((row, drawn), dim=1)
    assert generate(model, [0], 40, seeded(2)).ids == row[0].tolist()


def test_top_1_is_greedy() -> None:
    model = bigram([0.1, 0.9, 0.0], [0.0, 0.2, 0.8], [0.6, 0.3, 0.1])
    assert generate(model, [0], 5, seeded(), top_k=1).ids == [0, 1, 2, 0, 1, 2]
    assert generate(model, [0], 5, seeded(), temperature=1e-3).ids == [0, 1, 2, 0, 1, 2]
    assert generate(model, [0], 5, seeded(), top_k=1).probabilities == [1.0] * 5


def test_only_the_last_block_of_a_long_prompt_is_seen() -> None:
    model = GPT(9, block_size=4, n_layer=1, n_head=1, n_embd=8, generator=seeded())
    tail = [5, 6, 7, 8]
    long, short = generate(model, [1, 2, 3, *tail], 12, seeded(4)), generate(model, tail, 12, seeded(4))
    assert long.ids[7:] == short.ids[4:]


@pytest.mark.parametrize("training", [True, False])
def test_sampling_leaves_the_model_as_it_was(training: bool) -> None:
    model = GPT(9, block_size=4, n_layer=1, n_head=1, n_embd=8, dropout=0.5, generator=seeded())
    for module in model.modules():
        if isinstance(module, Dropout):
            module.generator = seeded(1)
            drops = module.generator
    model.train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state(), drops.get_state()
    first = generate(model, [0], 20, seeded(4))
    assert model.training is training and all(m.training is training for m in model.modules())
    assert torch.equal(torch.get_rng_state(), states[0]) and torch.equal(drops.get_state(), states[1])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert generate(model, [0], 20, seeded(4)) == first, "dropout must be off"


def test_the_mode_comes_back_after_an_error() -> None:
    model = Bigram(3).train()
    with pytest.raises(RuntimeError, match="boom"), evaluating(model):
        assert not model.training and not torch.is_grad_enabled()
        raise RuntimeError("boom")
    assert model.training and torch.is_grad_enabled()


@given(st.text(max_size=5), st.lists(st.tuples(st.text(min_size=1, max_size=3), st.floats(0, 1)), max_size=8))
def test_confidence_has_one_digit_a_character(prompt: str, drawn: list[tuple[str, float]]) -> None:
    digits = confidence(prompt, [piece for piece, _ in drawn], [p for _, p in drawn])
    assert len(digits) == len(prompt) + sum(len(piece) for piece, _ in drawn)
    assert digits[: len(prompt)] == "-" * len(prompt)
    at = len(prompt)
    for piece, p in drawn:
        assert digits[at : at + len(piece)] == str(min(9, math.floor(10 * p))) * len(piece)
        at += len(piece)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_named(bad: float) -> None:
    with pytest.raises(InputError, match="no longer finite"):
        next_token(torch.tensor([0.0, bad]))


@pytest.mark.parametrize("lr", [1e4, 1e6])
def test_a_gpt_whose_scores_overflow_diverges_and_a_sample_in_between_is_no_error(lr: float, corpus: Corpus) -> None:
    start = plain("gpt-tiny")
    told: list[object] = []
    config = changed(start.config, device="cpu", sample_every=1, block_size=8)
    trainer = Trainer(config, changed(start.settings, lr=lr, weight_decay=0.1), corpus, told.append)
    while not trainer.recorder.diverged:
        trainer.advance()
        assert trainer.step < 20
    texts = [entry.text for entry in told if isinstance(entry, Event) and entry.name == "sample"]
    assert texts and texts[-1].startswith("no sample")
