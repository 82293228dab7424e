"""The thirteen answers of document 003: every number against a computation of its own."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.lessons.questions import QUESTIONS, Answer, Asked
from engine.lessons.questions.training import RATES
from engine.models import LanguageModel, build_language_model
from engine.presets import PRESETS
from engine.text.corpus import Corpus


@pytest.fixture(params=["bigram", "gpt-tiny"])
def asked(request: pytest.FixtureRequest, corpus: Corpus) -> Asked:
    start = PRESETS[request.param]
    model = build_language_model(start.config, corpus.vocab_size, torch.Generator().manual_seed(11)).eval()
    return Asked.of(model, corpus, start.config, start.settings)


def answer(asked: Asked, line: int) -> Answer:
    (question,) = [q for q in QUESTIONS if q.line == line]
    return question.answer(asked)


def by_hand(asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """Logits (B·T, C) in float64 and targets (B·T,), as numpy."""
    with torch.no_grad():
        logits = asked.model(asked.inputs)[0].double().numpy()
    return logits.reshape(-1, logits.shape[-1]), asked.targets.numpy().reshape(-1)


def chances(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    return float(-np.log(chances(logits)[np.arange(len(targets)), targets]).mean())


def test_there_are_thirteen_and_six_are_left_open() -> None:
    assert len(QUESTIONS) == 13
    assert [q.line for q in QUESTIONS] == sorted(q.line for q in QUESTIONS)
    assert [q.line for q in QUESTIONS if q.document == "left open"] == [16, 504, 615, 618, 621, 660]
    assert len({q.words for q in QUESTIONS}) == 13


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: str(q.line))
def test_answering_changes_nothing_and_is_the_same_again(asked: Asked, question: object) -> None:
    model = asked.model
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    first = question.answer(asked)  # type: ignore[attr-defined]
    assert first == question.answer(asked)  # type: ignore[attr-defined]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters()) and not model._forward_hooks
    assert first.text and first.numbers


def test_the_batch_is_the_runs_own_size_from_the_training_text(asked: Asked, corpus: Corpus) -> None:
    text = corpus.tokenizer.decode(corpus.train.numpy())
    for inputs, targets in zip(asked.inputs.tolist(), asked.targets.tolist(), strict=True):
        assert corpus.tokenizer.decode([*inputs, targets[-1]]) in text
        assert targets[:-1] == inputs[1:]


def test_nn(asked: Asked) -> None:
    numbers = answer(asked, 16).numbers
    assert numbers["modules"] == len(list(asked.model.modules()))
    assert numbers["trainable numbers"] == sum(p.numel() for p in asked.model.parameters())
    rows = asked.model.token_embedding.weight[asked.inputs]
    with torch.no_grad():
        assert numbers["largest difference, layer and function"] == 0
        assert torch.equal(rows, asked.model.token_embedding(asked.inputs))


def test_f(asked: Asked) -> None:
    numbers = answer(asked, 19).numbers
    loss = cross_entropy(*by_hand(asked))
    assert numbers["F.cross_entropy"] == numbers["nn.CrossEntropyLoss"] == pytest.approx(loss, rel=1e-6)
    assert numbers["parameters"] == 0


def test_different_dimensions(asked: Asked) -> None:
    numbers = answer(asked, 40).numbers
    logits, targets = by_hand(asked)
    assert numbers["logits"] == numbers["targets as rows"] == str(logits.shape)
    assert numbers["targets"] == str(targets.shape)
    by_rows = float(-(np.eye(logits.shape[1])[targets] * np.log(chances(logits))).sum(axis=1).mean())
    assert numbers["loss with rows"] == pytest.approx(by_rows, rel=1e-6)
    assert numbers["loss with indices"] == pytest.approx(cross_entropy(logits, targets), rel=1e-6)


def test_the_comma(asked: Asked) -> None:
    numbers = answer(asked, 103).numbers
    count = asked.targets.numel()
    assert numbers == {"with a comma": f"({count},)", "without": str(count), "same shape from view": "True"}
    assert asked.targets.reshape(-1).view(count).shape == asked.targets.reshape(-1).view((count,)).shape


def test_nll(asked: Asked) -> None:
    numbers = answer(asked, 165).numbers
    logits, targets = by_hand(asked)
    right = chances(logits)[np.arange(len(targets)), targets]
    assert numbers["smallest p"] == pytest.approx(right.min(), rel=1e-5)
    assert numbers["largest p"] == pytest.approx(right.max(), rel=1e-5)
    for name in ("mean of −ln p", "F.nll_loss", "F.cross_entropy"):
        assert numbers[name] == pytest.approx(float(-np.log(right).mean()), rel=1e-6)
    assert "0.99 costs 0.010 and 0.01 costs 4.61" in answer(asked, 165).text


def test_nll_of_a_token_that_has_no_probability_left(asked: Asked) -> None:
    with torch.no_grad():
        for parameter in asked.model.parameters():
            parameter.mul_(1e6)
    numbers = answer(asked, 165).numbers
    assert numbers["smallest p"] == 0
    assert numbers["mean of −ln p"] == pytest.approx(numbers["F.cross_entropy"])


def test_input_or_logit(asked: Asked) -> None:
    numbers = answer(asked, 504).numbers
    logits, targets = by_hand(asked)
    assert numbers["first parameter"] == "input"
    assert numbers["inputs"] == str(tuple(asked.inputs.shape))
    assert numbers["loss of the logits"] == pytest.approx(cross_entropy(logits, targets), rel=1e-6)
    assert numbers["loss of their softmax"] == pytest.approx(cross_entropy(chances(logits), targets), rel=1e-6)


def test_where_targets_come_from(asked: Asked) -> None:
    numbers = answer(asked, 515).numbers
    batch, steps = asked.inputs.shape
    assert numbers["equal to the next input"] == numbers["compared"] == batch * (steps - 1)
    assert str(numbers["their targets"])[:-1] == str(numbers["first inputs"])[1:]


def test_where_it_returns(asked: Asked) -> None:
    numbers = answer(asked, 530).numbers
    trial = copy.deepcopy(asked.model)
    _, loss = trial(asked.inputs, asked.targets)
    loss.backward()
    grads: list[Tensor] = [p.grad for p in trial.parameters() if p.grad is not None]
    assert numbers["loss"] == float(loss.detach())
    assert numbers["grad_fn"] == "NllLossBackward0"
    assert numbers["parameter tensors reached"] == len(grads)
    assert numbers["gradient norm"] == pytest.approx(math.sqrt(sum(float((g**2).sum()) for g in grads)), rel=1e-5)
    assert numbers["loss without targets"] == "None"


def last_row(asked: Asked) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(asked.model(asked.inputs)[0][:, -1].double().numpy())


def test_b_c(asked: Asked) -> None:
    numbers = answer(asked, 615).numbers
    (batch, steps), classes = asked.inputs.shape, asked.tokenizer.vocab_size
    assert (numbers["logits"], numbers["last"]) == (f"({batch}, {steps}, {classes})", f"({batch}, {classes})")
    assert numbers["smallest row sum"] == pytest.approx(1) and numbers["largest row sum"] == pytest.approx(1)
    logits = by_hand(asked)[0].reshape(batch, steps, classes)
    over_time = chances(logits.transpose(0, 2, 1)).transpose(0, 2, 1).sum(axis=2)
    assert numbers["smallest sum over the wrong dimension"] == pytest.approx(over_time.min(), rel=1e-5)
    assert numbers["largest sum over the wrong dimension"] == pytest.approx(over_time.max(), rel=1e-5)


def test_b_1(asked: Asked) -> None:
    numbers = answer(asked, 618).numbers
    first = chances(last_row(asked))[0]
    assert numbers["drawn"] == f"({len(asked.inputs)}, 1)"
    assert numbers["likeliest token"] == asked.tokenizer.labels[int(first.argmax())]
    chance = first.max()
    assert numbers["its probability"] == pytest.approx(chance, rel=1e-5)
    scatter = math.sqrt(chance * (1 - chance) / 10_000)
    assert numbers["its share of 10,000 draws"] == pytest.approx(chance, abs=4 * scatter)


def test_b_t_plus_1(asked: Asked) -> None:
    numbers = answer(asked, 621).numbers
    batch, steps = asked.inputs.shape
    assert (numbers["before"], numbers["after"]) == (f"({batch}, {steps})", f"({batch}, {steps + 1})")
    assert numbers["context"] == asked.model.context
    with torch.no_grad():
        alone = asked.model(asked.inputs[:, -1:])[0][:, -1].double().numpy()
    change = float(np.abs(alone - last_row(asked)).max())
    assert numbers["change with the last token alone"] == pytest.approx(change, rel=1e-6)
    assert (change == 0) == (asked.model.context == 1)


def test_idx_or_xb(asked: Asked) -> None:
    numbers = answer(asked, 645).numbers
    assert numbers["parameters of forward"] == "inputs, targets"
    assert (numbers["hooks run by model(xb, yb)"], numbers["hooks run by model.forward(xb, yb)"]) == (1, 0)
    loss = cross_entropy(*by_hand(asked))
    assert numbers["loss by model(xb, yb)"] == numbers["loss by model.forward(xb, yb)"] == pytest.approx(loss, rel=1e-6)


def adamw_by_hand(model: LanguageModel, asked: Asked, rate: float) -> tuple[LanguageModel, Tensor]:
    """A first step from the formula: with empty moments the bias corrections leave g / (|g| + 1e-8)."""
    trial = copy.deepcopy(model)
    _, loss = trial(asked.inputs, asked.targets)
    grads = torch.autograd.grad(loss, list(trial.parameters()))
    with torch.no_grad():
        for parameter, g in zip(trial.parameters(), grads, strict=True):
            parameter -= rate * g / (g.abs() + 1e-8)
    return trial, torch.cat([g.flatten() for g in grads])


def test_why_adamw(asked: Asked) -> None:
    numbers = answer(asked, 660).numbers
    assert numbers["default rate"] == 1e-3 == torch.optim.AdamW([torch.zeros(1)]).defaults["lr"]
    assert numbers["loss before"] == pytest.approx(cross_entropy(*by_hand(asked)), rel=1e-6)
    for rate in RATES[:4]:  # beyond, a loss of hundreds magnifies the last bits
        trial, slopes = adamw_by_hand(asked.model, asked, rate)
        with torch.no_grad():
            loss = float(trial(asked.inputs, asked.targets)[1])
        assert numbers[f"loss after one step at {rate:g}"] == pytest.approx(loss, rel=1e-4)
    sizes = slopes[slopes != 0].abs().double().numpy()
    assert numbers["slope, 5 %"] == pytest.approx(np.percentile(sizes, 5), rel=0.02)
    assert numbers["slope, 95 %"] == pytest.approx(np.percentile(sizes, 95), rel=0.02)
    assert 0.99 < float(numbers["AdamW's move ÷ rate, 5 %"]) <= float(numbers["AdamW's move ÷ rate, 95 %"]) < 1.01
    assert numbers["SGD's move ÷ rate, 95 %"] == pytest.approx(np.percentile(sizes, 95), rel=0.05)
