from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn

from engine.config import LiveSettings, RunConfig, changed
from engine.runs.run import Run
from engine.stream.messages import Event, Record, Scalars, drain_queue
from engine.stream.status import State
from engine.text.corpus import Corpus
from engine.training.guard import WeightBound, all_finite
from engine.training.loss_monitor import HIGH_STEPS, HighLossDetector
from engine.training.trainer import Trainer

BIGRAM = RunConfig(preset="bigram", observe_every=10_000, eval_every=10_000, sample_every=10_000)
SETTINGS = LiveSettings()


def largest(tensors: list[nn.Parameter]) -> float:
    return max(float(p.detach().abs().max()) for p in tensors)


# ---------------------------------------------------------------- headroom


@given(
    st.sampled_from(["adamw", "sgd"]),
    st.sampled_from([0.0, 0.5, 0.99]),
    st.lists(st.tuples(st.floats(1e-8, 1e4), st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=40),
    st.floats(0, 1),
    st.integers(0, 2**31),
)
def test_the_bound_is_never_below_the_weights(
    name: str, momentum: float, knobs: list[tuple[float, float, float]], sparsity: float, seed: int
) -> None:
    draws = torch.Generator().manual_seed(seed)
    parameters = [nn.Parameter(torch.randn(shape, generator=draws)) for shape in ((4, 4), (3,))]
    optimizer: torch.optim.Optimizer = torch.optim.AdamW(parameters, lr=1.0, fused=True)
    if name == "sgd":
        optimizer = torch.optim.SGD(parameters, lr=1.0, momentum=momentum, fused=True)
    headroom = WeightBound(optimizer, changed(BIGRAM, optimizer=name, momentum=momentum))
    assert headroom.bound == largest(parameters)
    for lr, decay, size in knobs:
        for parameter in parameters:
            keep = torch.rand(parameter.shape, generator=draws) > sparsity
            scale = 10 ** (6 * size - 3)
            parameter.grad = scale * torch.randn(parameter.shape, generator=draws) * keep
        norm = math.hypot(*(float(p.grad.norm()) for p in parameters if p.grad is not None))
        optimizer.param_groups[0].update(lr=lr, weight_decay=decay)
        risky = headroom.grow(lr, decay, norm)
        optimizer.step()
        assert risky == (not headroom.bound < 1e30)
        if not risky:
            assert largest(parameters) <= headroom.bound * (1 + 1e-5)


@given(st.floats(1.0, 1.3))
@example(0.999 / 0.9)
def test_the_bound_holds_for_gradients_made_to_break_it(growth: float) -> None:
    """After a long silence, gradients that grow by β2 / β1 a step give Adam's longest step, 7.27 times lr."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=1.0, weight_decay=0.0, fused=True)
    parameter.grad = torch.zeros(1)
    optimizer.step()
    optimizer.state[parameter]["step"].fill_(20_000.0)  # as after so many steps without a gradient
    headroom = WeightBound(optimizer, BIGRAM)
    for step in range(60):
        parameter.grad = torch.full((1,), growth**step)
        if step > 40:
            headroom.measure()
        headroom.grow(1.0, 0.0, growth**step)
        optimizer.step()
        assert largest([parameter]) <= headroom.bound * (1 + 1e-5), f"at step {step}"


def test_no_grad_norm_means_that_every_update_is_checked() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1e-3)
    assert WeightBound(optimizer, changed(BIGRAM, optimizer="sgd")).grow(1e-3, 0.0, math.inf)


# ---------------------------------------------------------------- alarm


def test_the_alarm_rings_once_and_ends_once() -> None:
    alarm = HighLossDetector(10 * math.log(65))
    assert alarm.limit == pytest.approx(41.74387, abs=1e-4)
    heard = [alarm.add(50.0) for _ in range(HIGH_STEPS + 20)]
    assert heard == [None] * (HIGH_STEPS - 1) + [True] + [None] * 20
    assert [alarm.add(4.0) for _ in range(3)] == [False, None, None]


@given(st.lists(st.booleans(), max_size=400))
def test_the_alarm_against_a_naive_count(highs: list[bool]) -> None:
    alarm, row, ringing = HighLossDetector(10 * math.log(10)), 0, False
    for high in highs:
        row = row + 1 if high else 0
        expected = True if row == HIGH_STEPS else False if ringing and not high else None
        ringing = row >= HIGH_STEPS
        assert alarm.add(alarm.limit + 1 if high else alarm.limit) is expected


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_all_finite(bad: float, device: str) -> None:
    good = [torch.ones(2, 2, device=device), torch.zeros(3, device=device)]
    assert all_finite(good)
    assert not all_finite([*good, torch.tensor([1.0, bad], device=device)])


# ---------------------------------------------------------------- in a trainer


def trainer_of(corpus: Corpus, device: str = "cpu", optimizer: str = "adamw", **live: object) -> Trainer:
    records: list[Record] = []
    config = changed(BIGRAM, optimizer=optimizer)
    trainer = Trainer(config, changed(SETTINGS, **live), corpus, records.append, device)
    trainer.records = records  # type: ignore[attr-defined]
    return trainer


def break_at(trainer: Trainer, step: int, what: str) -> None:
    """Make the loss, or only its gradient, nan at `step`."""
    loss_of, seen = trainer.model.loss, itertools.count(1)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        value = loss_of(logits, targets)
        if next(seen) < step:
            return value
        if what == "loss":
            return value * math.nan
        logits.register_hook(lambda grad: grad * (math.nan if what == "nan gradient" else math.inf))
        return value

    trainer.model.loss = loss  # type: ignore[method-assign]


def advance_until_diverged(trainer: Trainer, most: int) -> None:
    for _ in range(most):
        trainer.advance()
        trainer.settle()
        if trainer.recorder.diverged:
            return
    pytest.fail(f"did not diverge in {most} steps")


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("what", ["loss", "nan gradient", "inf gradient"])
def test_what_is_not_finite_never_reaches_the_weights(tiny: Corpus, device: str, optimizer: str, what: str) -> None:
    trainer, twin = (trainer_of(tiny, device, optimizer) for _ in range(2))
    break_at(trainer, 7, what)
    advance_until_diverged(trainer, 7)
    for _ in range(6):
        twin.advance()
    assert torch.equal(trainer.model.token_embedding.weight, twin.model.token_embedding.weight)
    last = [r for r in trainer.records if isinstance(r, Scalars)][-1]  # type: ignore[attr-defined]
    assert last.step == 7
    assert math.isfinite(last.loss) == (what != "loss")
    assert not math.isfinite(last.grad_norm)


def test_a_gpu_withholds_every_later_update_too(tiny: Corpus, device: str) -> None:
    if device == "cpu":
        pytest.skip("on the CPU the verdict is immediate")
    trainer = trainer_of(tiny, device)
    break_at(trainer, 3, "loss")
    for _ in range(2):
        trainer.advance()
    kept = trainer.model.token_embedding.weight.detach().clone()
    for _ in range(150):
        trainer.advance()
    trainer.settle()
    assert torch.equal(trainer.model.token_embedding.weight, kept)
    assert max(r.step for r in trainer.records if isinstance(r, Scalars)) == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("optimizer", "live"),
    [("adamw", {"lr": 1e6, "weight_decay": 0.1}), ("sgd", {"lr": 1e7, "weight_decay": 1.0})],
)
def test_weights_that_overflow_are_put_back(tiny: Corpus, device: str, optimizer: str, live: dict[str, float]) -> None:
    trainer = trainer_of(tiny, device, optimizer, **live)
    weight = trainer.model.token_embedding.weight
    for _ in range(200):
        before = weight.detach().clone()
        trainer.advance()
        trainer.settle()
        if trainer.recorder.diverged:
            break
        assert not torch.equal(before, weight)
    assert trainer.recorder.diverged
    assert torch.isfinite(weight).all() and torch.equal(weight, before)


def test_a_sane_run_makes_no_copies(tiny: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(tiny, lr=0.1)
    monkeypatch.setattr(trainer, "_careful_update", lambda: pytest.fail("copied the weights"))
    for _ in range(300):
        trainer.advance()


def test_careful_updates_are_the_same_updates(tiny: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, careful = trainer_of(tiny), trainer_of(tiny)
    monkeypatch.setattr(careful.weight_bound, "grow", lambda *_: True)
    for trainer in (plain, careful):
        for _ in range(50):
            trainer.advance()
    assert torch.equal(plain.model.token_embedding.weight, careful.model.token_embedding.weight)
    assert (plain.step, plain.tokens_seen) == (careful.step, careful.tokens_seen)


# ---------------------------------------------------------------- in a run

Make = Callable[..., Run]
Wait = Callable[..., None]


def events(records: list[Record]) -> dict[str, Event]:
    return {record.name: record for record in records if isinstance(record, Event)}


def test_a_huge_lr_with_decay_ends_in_diverged(corpus: Corpus, make_run: Make, wait_until: Wait) -> None:
    run = make_run(BIGRAM, changed(SETTINGS, lr=1e6, weight_decay=0.1, max_steps=500), corpus)
    run.start()
    wait_until(lambda: run.state is State.DIVERGED)
    records = drain_queue(run.queue)
    steps = [r.step for r in records if isinstance(r, Scalars)]
    assert run.message == (
        f"diverged at step {steps[-1]}: its update was not kept; reset, then lower the learning rate"
    )
    assert steps == list(range(1, run.step + 2))
    assert events(records)["diverged"] == Event(run.step + 1, "diverged", run.message)
    step, weights = run.copy_weights()
    assert step == run.step and all(torch.isfinite(w).all() for w in weights.values())
    run.start()
    run.make_steps(3)
    assert run.copy_weights()[0] == step, "a diverged run does not go on"
    assert run.state is State.DIVERGED and not run.can_resume


def test_a_huge_lr_without_decay_rings_the_alarm(corpus: Corpus, make_run: Make, wait_until: Wait) -> None:
    run = make_run(BIGRAM, changed(SETTINGS, lr=1e6, weight_decay=0.0, max_steps=120), corpus)
    run.start()
    wait_until(lambda: run.state is State.DONE)
    records = drain_queue(run.queue)
    losses = {r.step: r.loss for r in records if isinstance(r, Scalars)}
    limit = 10 * math.log(corpus.distinct)
    first = next(n for n in losses if all(losses.get(m, 0) > limit for m in range(n, n + HIGH_STEPS)))
    warning = events(records)["warning"]
    assert run.warning == warning.text and "start again with a lower learning rate" in warning.text
    assert f"{limit:.1f}" in warning.text and run.trouble and run.status().trouble
    assert warning.step == first + HIGH_STEPS - 1
    assert run.status().warning == run.warning


def test_steps_that_are_not_in_a_row_ring_no_alarm(
    tiny: Corpus, make_run: Make, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(BIGRAM, changed(SETTINGS, max_steps=400), tiny)
    assert run.copy_weights()[0] == 0 and run.loop.trainer is not None
    loss_of, count = run.loop.trainer.model.loss, itertools.count(1)
    high = 11 * math.log(tiny.distinct)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        value = loss_of(logits, targets)
        return value if next(count) % 10 == 0 else value - value.detach() + high

    monkeypatch.setattr(run.loop.trainer.model, "loss", loss)
    run.start()
    wait_until(lambda: run.state is State.DONE)
    assert run.warning is None and "warning" not in events(drain_queue(run.queue))


def test_the_warning_goes_when_the_loss_comes_down(
    tiny: Corpus, make_run: Make, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(BIGRAM, changed(SETTINGS, max_steps=200), tiny)
    assert run.copy_weights()[0] == 0 and run.loop.trainer is not None
    loss_of, count, seen = run.loop.trainer.model.loss, itertools.count(1), {}
    high = 11 * math.log(tiny.distinct)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        step = next(count)
        seen[step] = run.warning
        value = loss_of(logits, targets)
        return value if step > 80 else value - value.detach() + high

    monkeypatch.setattr(run.loop.trainer.model, "loss", loss)
    run.start()
    wait_until(lambda: run.state is State.DONE)
    told = [step for step, warning in seen.items() if warning]
    assert told == list(range(HIGH_STEPS + 1, 82))
    assert run.warning is None and not run.trouble
