"""The thirteen answers of document 003: every number against a computation of its own."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.config import changed
from engine.lessons.questions import QUESTIONS, Answer, QuestionContext, training
from engine.lessons.questions.training import RATES, _other_rows, _steps_to_try
from engine.models.base import LanguageModel
from engine.models.registry import build_language_model
from engine.presets import PRESETS
from engine.text.corpus import Corpus
from engine.training.trainer import Trainer


@pytest.fixture(params=["bigram", "gpt-tiny"])
def context(request: pytest.FixtureRequest, corpus: Corpus) -> QuestionContext:
    start = PRESETS[request.param]
    model = build_language_model(start.config, corpus.vocab_size, torch.Generator().manual_seed(11)).eval()
    return QuestionContext.of(model, corpus, start.config, start.settings)


def answer(context: QuestionContext, line: int) -> Answer:
    (question,) = [q for q in QUESTIONS if q.line == line]
    return question.answer(context)


def by_hand(context: QuestionContext) -> tuple[np.ndarray, np.ndarray]:
    """Logits (B·T, C) in float64 and targets (B·T,), as numpy."""
    with torch.no_grad():
        logits = context.model(context.inputs)[0].double().numpy()
    return logits.reshape(-1, logits.shape[-1]), context.targets.numpy().reshape(-1)


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
def test_answering_changes_nothing_and_is_the_same_again(context: QuestionContext, question: object) -> None:
    model = context.model
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    first = question.answer(context)  # type: ignore[attr-defined]
    assert first == question.answer(context)  # type: ignore[attr-defined]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters()) and not model._forward_hooks
    assert first.text and first.numbers


def test_the_batch_is_the_runs_own_size_from_the_training_text(context: QuestionContext, corpus: Corpus) -> None:
    text = corpus.tokenizer.decode(corpus.train.numpy())
    for inputs, targets in zip(context.inputs.tolist(), context.targets.tolist(), strict=True):
        assert corpus.tokenizer.decode([*inputs, targets[-1]]) in text
        assert targets[:-1] == inputs[1:]


def test_nn(context: QuestionContext) -> None:
    numbers = answer(context, 16).numbers
    assert numbers["modules"] == len(list(context.model.modules()))
    assert numbers["trainable numbers"] == sum(p.numel() for p in context.model.parameters())
    rows = context.model.token_embedding.weight[context.inputs]
    with torch.no_grad():
        assert numbers["largest difference, layer and function"] == 0
        assert torch.equal(rows, context.model.token_embedding(context.inputs))


def test_f(context: QuestionContext) -> None:
    numbers = answer(context, 19).numbers
    loss = cross_entropy(*by_hand(context))
    assert numbers["F.cross_entropy"] == numbers["nn.CrossEntropyLoss"] == pytest.approx(loss, rel=1e-6)
    assert numbers["parameters"] == 0


def test_different_dimensions(context: QuestionContext) -> None:
    numbers = answer(context, 40).numbers
    logits, targets = by_hand(context)
    assert numbers["logits"] == numbers["targets as rows"] == str(logits.shape)
    assert numbers["targets"] == str(targets.shape)
    by_rows = float(-(np.eye(logits.shape[1])[targets] * np.log(chances(logits))).sum(axis=1).mean())
    assert numbers["loss with rows"] == pytest.approx(by_rows, rel=1e-6)
    assert numbers["loss with indices"] == pytest.approx(cross_entropy(logits, targets), rel=1e-6)


def test_the_comma(context: QuestionContext) -> None:
    numbers = answer(context, 103).numbers
    count = context.targets.numel()
    assert numbers == {"with a comma": f"({count},)", "without": str(count), "same shape from view": "True"}
    assert context.targets.reshape(-1).view(count).shape == context.targets.reshape(-1).view((count,)).shape


def test_nll(context: QuestionContext) -> None:
    numbers = answer(context, 165).numbers
    logits, targets = by_hand(context)
    right = chances(logits)[np.arange(len(targets)), targets]
    assert numbers["smallest p"] == pytest.approx(right.min(), rel=1e-5)
    assert numbers["largest p"] == pytest.approx(right.max(), rel=1e-5)
    for name in ("mean of −ln p", "F.nll_loss", "F.cross_entropy"):
        assert numbers[name] == pytest.approx(float(-np.log(right).mean()), rel=1e-6)
    assert "0.99 costs 0.010 and 0.01 costs 4.61" in answer(context, 165).text


def test_nll_of_a_token_that_has_no_probability_left(context: QuestionContext) -> None:
    with torch.no_grad():
        for parameter in context.model.parameters():
            parameter.mul_(1e6)
    numbers = answer(context, 165).numbers
    assert numbers["smallest p"] == 0
    assert numbers["mean of −ln p"] == pytest.approx(numbers["F.cross_entropy"])


def test_input_or_logit(context: QuestionContext) -> None:
    numbers = answer(context, 504).numbers
    logits, targets = by_hand(context)
    assert numbers["first parameter"] == "input"
    assert numbers["inputs"] == str(tuple(context.inputs.shape))
    assert numbers["loss of the logits"] == pytest.approx(cross_entropy(logits, targets), rel=1e-6)
    assert numbers["loss of their softmax"] == pytest.approx(cross_entropy(chances(logits), targets), rel=1e-6)


def test_where_targets_come_from(context: QuestionContext) -> None:
    numbers = answer(context, 515).numbers
    batch, steps = context.inputs.shape
    assert numbers["equal to the next input"] == numbers["compared"] == batch * (steps - 1)
    assert str(numbers["their targets"])[:-1] == str(numbers["first inputs"])[1:]


def test_where_it_returns(context: QuestionContext) -> None:
    numbers = answer(context, 530).numbers
    trial = copy.deepcopy(context.model)
    _, loss = trial(context.inputs, context.targets)
    loss.backward()
    grads: list[Tensor] = [p.grad for p in trial.parameters() if p.grad is not None]
    assert numbers["loss"] == float(loss.detach())
    assert numbers["grad_fn"] == "NllLossBackward0"
    assert numbers["parameter tensors reached"] == len(grads)
    assert numbers["gradient norm"] == pytest.approx(math.sqrt(sum(float((g**2).sum()) for g in grads)), rel=1e-5)
    assert numbers["loss without targets"] == "None"


def last_row(context: QuestionContext) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(context.model(context.inputs)[0][:, -1].double().numpy())


def test_b_c(context: QuestionContext) -> None:
    numbers = answer(context, 615).numbers
    (batch, steps), classes = context.inputs.shape, context.tokenizer.vocab_size
    assert (numbers["logits"], numbers["last"]) == (f"({batch}, {steps}, {classes})", f"({batch}, {classes})")
    assert numbers["smallest row sum"] == pytest.approx(1) and numbers["largest row sum"] == pytest.approx(1)
    logits = by_hand(context)[0].reshape(batch, steps, classes)
    over_time = chances(logits.transpose(0, 2, 1)).transpose(0, 2, 1).sum(axis=2)
    assert numbers["smallest sum over the wrong dimension"] == pytest.approx(over_time.min(), rel=1e-5)
    assert numbers["largest sum over the wrong dimension"] == pytest.approx(over_time.max(), rel=1e-5)


def test_b_1(context: QuestionContext) -> None:
    numbers = answer(context, 618).numbers
    first = chances(last_row(context))[0]
    assert numbers["drawn"] == f"({len(context.inputs)}, 1)"
    assert numbers["likeliest token"] == context.tokenizer.labels[int(first.argmax())]
    chance = first.max()
    assert numbers["its probability"] == pytest.approx(chance, rel=1e-5)
    scatter = math.sqrt(chance * (1 - chance) / 10_000)
    assert numbers["its share of 10,000 draws"] == pytest.approx(chance, abs=4 * scatter)


def test_b_t_plus_1(context: QuestionContext) -> None:
    numbers = answer(context, 621).numbers
    batch, steps = context.inputs.shape
    assert (numbers["before"], numbers["after"]) == (f"({batch}, {steps})", f"({batch}, {steps + 1})")
    assert numbers["context"] == context.model.context
    with torch.no_grad():
        alone = context.model(context.inputs[:, -1:])[0][:, -1].double().numpy()
    change = float(np.abs(alone - last_row(context)).max())
    assert numbers["change with the last token alone"] == pytest.approx(change, rel=1e-6)
    assert (change == 0) == (context.model.context == 1)


def test_idx_or_xb(context: QuestionContext) -> None:
    numbers = answer(context, 645).numbers
    assert numbers["parameters of forward"] == "inputs, targets"
    assert (numbers["hooks run by model(xb, yb)"], numbers["hooks run by model.forward(xb, yb)"]) == (1, 0)
    loss = cross_entropy(*by_hand(context))
    assert numbers["loss by model(xb, yb)"] == numbers["loss by model.forward(xb, yb)"] == pytest.approx(loss, rel=1e-6)


def adamw_by_hand(model: LanguageModel, context: QuestionContext, rate: float) -> tuple[LanguageModel, Tensor]:
    """A first step from the formula: with empty moments the bias corrections leave g / (|g| + 1e-8)."""
    trial = copy.deepcopy(model)
    _, loss = trial(context.inputs, context.targets)
    grads = torch.autograd.grad(loss, list(trial.parameters()))
    with torch.no_grad():
        for parameter, g in zip(trial.parameters(), grads, strict=True):
            parameter -= rate * g / (g.abs() + 1e-8)
    return trial, torch.cat([g.flatten() for g in grads])


def test_why_adamw(context: QuestionContext) -> None:
    numbers = answer(context, 660).numbers
    assert numbers["default rate"] == 1e-3 == torch.optim.AdamW([torch.zeros(1)]).defaults["lr"]
    assert numbers["loss before"] == pytest.approx(cross_entropy(*by_hand(context)), rel=1e-6)
    for rate in RATES[:4]:  # beyond, a loss of hundreds magnifies the last bits
        trial, slopes = adamw_by_hand(context.model, context, rate)
        with torch.no_grad():
            loss = float(trial(context.inputs, context.targets)[1])
        assert numbers[f"loss after one step at {rate:g}"] == pytest.approx(loss, rel=1e-4)
    sizes = slopes[slopes != 0].abs().double().numpy()
    assert numbers["slope, 5 %"] == pytest.approx(np.percentile(sizes, 5), rel=0.02)
    assert numbers["slope, 95 %"] == pytest.approx(np.percentile(sizes, 95), rel=0.02)
    assert 0.99 < float(numbers["AdamW's move ÷ rate, 5 %"]) <= float(numbers["AdamW's move ÷ rate, 95 %"]) < 1.01
    assert numbers["SGD's move ÷ rate, 95 %"] == pytest.approx(np.percentile(sizes, 95), rel=0.05)


def loss_on(model: LanguageModel, windows: list[tuple[Tensor, Tensor]]) -> float:
    with torch.no_grad():
        return float(np.mean([float(model(inputs, targets)[1]) for inputs, targets in windows]))


def test_why_1e_3_is_answered_on_other_windows_than_the_batch(context: QuestionContext) -> None:
    found = answer(context, 660)
    (other,) = context.other_windows(_other_rows(context))
    assert not torch.equal(other[0][: len(context.inputs)], context.inputs)
    assert found.numbers["on other windows, before"] == pytest.approx(loss_on(context.model, [other]), rel=1e-6)
    for rate in RATES[:4]:
        trial, _ = adamw_by_hand(context.model, context, rate)
        told = found.numbers[f"on other windows, after one step at {rate:g}"]
        assert told == pytest.approx(loss_on(trial, [other]), rel=1e-4)
    steps = _steps_to_try(context)
    assert steps >= 5
    trial = copy.deepcopy(context.model)
    optimizer = torch.optim.AdamW(trial.parameters(), lr=0.01, weight_decay=0)
    for inputs, targets in context.other_windows(len(context.inputs), steps):
        optimizer.zero_grad()
        trial(inputs, targets)[1].backward()
        optimizer.step()
    told = found.numbers[f"on other windows, after {steps} steps at 0.01"]
    assert told == pytest.approx(loss_on(trial, [other]), rel=1e-3)
    assert "no law" in found.text


def test_the_rate_that_fits_one_batch_best_ruins_a_trained_bigram_elsewhere(corpus: Corpus) -> None:
    start = PRESETS["bigram"]
    trainer = Trainer(start.config, changed(start.settings, speed="unlimited"), corpus, lambda _: None)
    trainer.unwatched = True
    for _ in range(1000):
        trainer.advance()
    assert isinstance(trainer.model, LanguageModel)
    context = QuestionContext.of(trainer.model.eval(), corpus, start.config, start.settings)
    found = answer(context, 660)
    own = {rate: found.numbers[f"loss after one step at {rate:g}"] for rate in RATES}
    elsewhere = {rate: found.numbers[f"on other windows, after one step at {rate:g}"] for rate in RATES}
    before = found.numbers["on other windows, before"]
    assert min(own, key=lambda rate: own[rate]) == 10 and min(elsewhere, key=lambda rate: elsewhere[rate]) == 1
    assert own[10] == pytest.approx(2.12, abs=0.1) and elsewhere[10] == pytest.approx(9.3, abs=0.5)
    assert before == pytest.approx(3.84, abs=0.05)
    assert "One step at 10 lowers the loss of its own batch most" in found.text
    assert f"from {before:.4f} to {elsewhere[10]:.4f}: it fits this batch and nothing else" in found.text


def test_a_large_model_is_not_trained_for_an_answer(context: QuestionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_WORK_A_STEP", 0)
    monkeypatch.setattr(training, "MOST_WORK", 0)
    monkeypatch.setattr(training, "RATES", (1e-3, 1.0))
    found = answer(context, 660)
    assert not any("steps at" in name for name in found.numbers)
    assert "each on a batch of its own" not in found.text
