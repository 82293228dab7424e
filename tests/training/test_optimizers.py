"""Optimizers against torch's own, parts of a batch against the whole, and first weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.config import LiveSettings, RunConfig, changed
from engine.errors import InputError
from engine.models.gpt import GPT
from engine.stream.messages import Record, Scalars
from engine.text.corpus import Corpus
from engine.training.guard import adam_reach
from engine.training.optimizers import Muon, make_optimizer, orthogonal, set_rate
from engine.training.state import restore, take_snapshot
from engine.training.trainer import Trainer

SMALL: dict[str, Any] = {"model": "gpt", "n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 8}
GPT_RUN = RunConfig(**SMALL)


def trainer_of(corpus: Corpus, settings: LiveSettings | None = None, **config: Any) -> tuple[Trainer, list[Record]]:
    records: list[Record] = []
    run = RunConfig(**(SMALL | config))
    return Trainer(run, settings or LiveSettings(batch_size=6), corpus, records.append), records


def test_orthogonal_keeps_the_vectors_and_brings_singular_values_near_one() -> None:
    for shape in ((4, 12, 12), (1, 24, 8), (3, 8, 24)):
        given = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        u, _, v = torch.linalg.svd(given, full_matrices=False)
        turned = u.mT @ orthogonal(given) @ v.mT
        sizes = turned.diagonal(dim1=-2, dim2=-1)
        assert (turned - torch.diag_embed(sizes)).abs().max() < 1e-4
        assert sizes.min() > 0.6
        assert sizes.max() < 1.3


def test_muon_moves_matrices_as_torchs_own_does_and_the_rest_as_adamw() -> None:
    draws = torch.Generator().manual_seed(3)
    mine, theirs = (GPT(20, 8, 2, 2, 16, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    optimizer = make_optimizer(changed(GPT_RUN, optimizer="muon", muon_scale=4.0), mine)
    assert isinstance(optimizer, Muon)
    hidden = set(theirs.hidden_matrices())
    assert {tuple(p.shape) for p in hidden} == {(48, 16), (16, 16), (64, 16), (16, 64)}
    muon = torch.optim.Muon(list(hidden), lr=0.04, weight_decay=0.1, momentum=0.95)
    adamw = torch.optim.AdamW([p for p in theirs.parameters() if p not in hidden], lr=0.01, weight_decay=0.1)
    set_rate(optimizer, 0.01, 0.1)
    for _ in range(5):
        for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=draws)
            other.grad = one.grad.clone()
        for step in (optimizer, muon, adamw):
            step.step()
    for (name, one), other in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        room = 0.01 if other in hidden else 1e-6  # theirs iterates in bfloat16
        assert torch.allclose(one, other, rtol=0, atol=room), name


def test_a_gpus_verdict_withholds_muons_update() -> None:
    model = GPT(20, 8, 1, 2, 16, generator=torch.Generator().manual_seed(7))
    optimizer = make_optimizer(changed(GPT_RUN, optimizer="muon"), model)
    optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]
    set_rate(optimizer, 0.01, 0.1)
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, math.inf)
    optimizer.step()
    assert all(torch.equal(was, now) for was, now in zip(before, model.parameters(), strict=True))
    assert all(not state["momentum_buffer"].any() for state in optimizer.state.values() if "momentum_buffer" in state)


@pytest.mark.parametrize(
    "own",
    [
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "adamw", "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-5},
        {"optimizer": "adamw", "decays": "matrices"},
        {"optimizer": "muon"},
        {"optimizer": "muon", "decays": "matrices"},
    ],
)
def test_every_optimizer_goes_on_exactly_from_a_snapshot(corpus: Corpus, own: dict[str, Any]) -> None:
    whole, records = trainer_of(corpus, **own)
    for _ in range(4):
        whole.advance()
    snapshot = take_snapshot(whole)
    for _ in range(4):
        whole.advance()
    again, resumed = trainer_of(corpus, **own)
    restore(again, snapshot)
    for _ in range(4):
        again.advance()
    losses = [[one.loss for one in found if isinstance(one, Scalars)] for found in (records, resumed)]
    assert losses[0][-4:] == losses[1]
    assert len(set(losses[0])) == 8


def test_sgd_with_momentum_and_adamw_with_its_numbers_are_torchs() -> None:
    for own, theirs in (
        ({"optimizer": "sgd", "momentum": 0.9}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.2)),
        (
            {"optimizer": "adamw", "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3},
            lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.2),
        ),
    ):
        one, other = (GPT(20, 8, 1, 2, 16, generator=torch.Generator().manual_seed(7)) for _ in range(2))
        mine, plain = make_optimizer(changed(GPT_RUN, **own), one), theirs(list(other.parameters()))
        set_rate(mine, 0.1, 0.2)
        for _ in range(3):
            for a, b in zip(one.parameters(), other.parameters(), strict=True):
                a.grad = torch.ones_like(a)
                b.grad = torch.ones_like(b)
            mine.step()
            plain.step()
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)


def test_decay_of_matrices_alone_leaves_biases_and_norms() -> None:
    model = GPT(20, 8, 1, 2, 16, generator=torch.Generator().manual_seed(7))
    optimizer = make_optimizer(changed(GPT_RUN, decays="matrices"), model)
    set_rate(optimizer, 0.1, 0.5)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter, before[name] * (0.95 if parameter.dim() == 2 else 1.0)), name


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(corpus: Corpus, parts: int) -> None:
    def gradients(count: int) -> tuple[float, dict[str, Tensor], int]:
        trainer, _ = trainer_of(corpus, LiveSettings(batch_size=7, micro_batches=count))
        for _ in range(4):
            trainer.stage()
        found = {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}
        for _ in range(5):
            trainer.stage()
        return trainer.loss.item(), found, trainer.tokens_seen

    loss, whole, tokens = gradients(1)
    other, summed, same_tokens = gradients(parts)
    assert other == pytest.approx(loss, rel=1e-6)
    assert tokens == same_tokens == 7 * 8
    assert whole.keys() == summed.keys()
    for name, gradient in whole.items():
        assert torch.allclose(gradient, summed[name], rtol=1e-4, atol=1e-7), name


@pytest.mark.parametrize(
    ("kind", "lowest", "highest"),
    [("zeros", 0.0, 1e-6), ("small", 0.0, 0.01), ("small-scaled", 0.0, 0.01), ("normal", 0.2, 60.0)],
)
@pytest.mark.parametrize("model", ["bigram", "gpt"])
def test_first_weights_and_the_first_loss(corpus: Corpus, model: str, kind: str, lowest: float, highest: float) -> None:
    """Nothing known is ln V; N(0, 1) is confident and wrong."""
    trainer, _ = trainer_of(corpus, model=model, first_weights=kind)
    for _ in range(3):
        trainer.stage()
    above = trainer.loss.item() - math.log(corpus.vocab_size)
    assert lowest <= abs(above) <= highest
    if kind == "small-scaled" and model == "gpt":
        stds = {
            name: p.std().item() for name, p in trainer.model.named_parameters() if p.dim() == 2 and "blocks" in name
        }
        narrow = [std for name, std in stds.items() if name.endswith(("project.weight", "narrow.weight"))]
        assert max(narrow) < 0.013 < 0.017 < min(std for std in stds.values() if std not in narrow)


def test_fused_attention_is_the_written_out_one_within_rounding(corpus: Corpus) -> None:
    outputs = []
    for attention in ("written-out", "fused"):
        trainer, _ = trainer_of(corpus, attention=attention)
        for _ in range(4):
            trainer.stage()
        outputs.append((trainer.logits.detach(), {n: p.grad for n, p in trainer.model.named_parameters()}))
    assert torch.allclose(outputs[0][0], outputs[1][0], atol=1e-6)
    for name, gradient in outputs[0][1].items():
        assert torch.allclose(gradient, outputs[1][1][name], atol=1e-6), name  # type: ignore[arg-type]


def test_fused_attention_drops_with_the_runs_own_generator(corpus: Corpus) -> None:
    plain, fused = (trainer_of(corpus, attention=one, dropout=0.2)[0] for one in ("written-out", "fused"))
    for trainer in (plain, fused):
        trainer.advance()
    assert plain.loss.item() == fused.loss.item()


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"model": "bigram", "optimizer": "muon"}, "optimizer 'muon' is for hidden matrices; bigram has none"),
        ({"model": "line", "first_weights": "zeros"}, "first_weights 'zeros' is for models of text"),
        ({"momentum": 1.0}, "momentum 1.0 is not possible; choose below 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(own: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        changed(RunConfig(), **own)


def test_the_reach_of_adam_is_that_of_its_betas() -> None:
    assert adam_reach(0.9, 0.999) == pytest.approx(7.27, abs=0.01)
    assert adam_reach(0.99, 0.9) == math.inf
    worst, beta1, beta2 = 0.0, 0.8, 0.9
    mean = square = 0.0
    for step in range(200):  # gradients that grow by beta2 / beta1, after a long silence
        gradient = (beta2 / beta1) ** step
        mean, square = beta1 * mean + (1 - beta1) * gradient, beta2 * square + (1 - beta2) * gradient**2
        worst = max(worst, mean / math.sqrt(square))
    assert worst <= adam_reach(beta1, beta2) * (1 + 1e-9) <= 1.05 * worst


@pytest.mark.parametrize(
    "own", [{"optimizer": "sgd", "momentum": 0.99}, {"optimizer": "muon"}, {"beta1": 0.99, "beta2": 0.9}]
)
def test_no_rate_lets_weights_overflow_unseen(corpus: Corpus, own: dict[str, Any]) -> None:
    trainer, _ = trainer_of(corpus, LiveSettings(lr=1e7, batch_size=4, weight_decay=10.0), **own)
    for _ in range(400):
        trainer.advance()
        if trainer.recorder.diverged:
            break
    assert trainer.recorder.diverged
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
