from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from engine.config import changed
from engine.models.base import LanguageModel
from engine.models.registry import build
from engine.presets import PRESETS
from engine.stream.downsampling import bin_starts
from engine.stream.messages import Observation
from engine.training import probes
from engine.training.trainer import Trainer
from tests.plain import plain

MODELS = ["bigram", "gpt-tiny"]


def trained_once(name: str, device: str = "cpu") -> tuple[LanguageModel, Callable[[], Tensor]]:
    """A model with gradients, and its loss."""
    model = build(PRESETS[name].config, 20, torch.Generator().manual_seed(0)).to(device)
    draws = torch.Generator().manual_seed(1)
    inputs, targets = torch.randint(20, (2, 4, 8), generator=draws).to(device)

    def loss() -> Tensor:
        value: Tensor = model(inputs, targets)[1]
        return value

    loss().backward()
    return model, loss


def length(tensors: list[Tensor]) -> float:
    """The Euclidean length by plain summation, float64."""
    return math.sqrt(sum((t.detach().double() ** 2).sum().item() for t in tensors))


@pytest.mark.parametrize("name", MODELS)
def test_gradient_norms_against_autograd(name: str, device: str) -> None:
    model, loss = trained_once(name, device)
    parameters = list(model.parameters())
    grads = dict(zip(map(id, parameters), torch.autograd.grad(loss(), parameters), strict=True))
    norm = probes.global_norm(probes.gradients(parameters))
    assert norm.shape == ()
    assert float(norm) == pytest.approx(length(list(grads.values())), rel=1e-5)
    layers = probes.layer_norms(model.layers())
    assert set(layers) == set(model.layers())
    for layer, part in model.layers().items():
        assert layers[layer] == pytest.approx(length([grads[id(p)] for p in part]), rel=1e-5)
    assert math.hypot(*layers.values()) == pytest.approx(float(norm), rel=1e-5)


def test_global_norm_is_what_clipping_sees() -> None:
    model, _ = trained_once("gpt-tiny")
    before = probes.global_norm(probes.gradients(list(model.parameters())))
    assert float(before) == pytest.approx(float(nn.utils.clip_grad_norm_(model.parameters(), 1e-3)), rel=1e-6)


def test_a_parameter_that_the_loss_skipped_has_no_gradient() -> None:
    used, skipped = nn.Parameter(torch.tensor([3.0, 4.0])), nn.Parameter(torch.ones(2))
    (used**2).sum().backward()
    assert probes.gradients([used, skipped]) == [used.grad]
    assert probes.layer_norms({"used": [used], "skipped": [skipped]}) == {"used": 10.0}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_update_ratios_are_measured_on_the_weights(name: str, kind: type[torch.optim.Optimizer]) -> None:
    model, _ = trained_once(name)
    before = {key: value.clone() for key, value in model.named_parameters()}
    kept = probes.weight_copies(model.layers())
    kind(model.parameters(), lr=0.1).step()  # type: ignore[call-arg]
    moved = {key: value.detach() - before[key] for key, value in model.named_parameters()}
    ratios = probes.update_ratios(kept, model.layers())
    assert ratios["update_ratio"] == pytest.approx(length(list(moved.values())) / length(list(before.values())), 1e-4)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    for layer, part in model.layers().items():
        keys = [names[id(p)] for p in part]
        expected = length([moved[key] for key in keys]) / length([before[key] for key in keys])
        assert ratios[f"update_ratio/{layer}"] == pytest.approx(expected, rel=1e-4)


def test_update_ratio_of_sgd_is_lr_times_the_gradient() -> None:
    model, _ = trained_once("bigram")
    weight = model.token_embedding.weight
    expected = 0.5 * length([weight.grad]) / length([weight.detach()])  # type: ignore[list-item]
    kept = probes.weight_copies(model.layers())
    torch.optim.SGD(model.parameters(), lr=0.5).step()
    assert probes.update_ratios(kept, model.layers())["update_ratio"] == pytest.approx(expected, rel=1e-4)


def test_a_layer_of_zeros_has_no_ratio() -> None:
    zero, one = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(3))
    parts = {"zero": [zero], "one": [one]}
    kept = probes.weight_copies(parts)
    with torch.no_grad():
        zero += 1
    assert probes.update_ratios(kept, parts) == {"update_ratio/one": 0.0, "update_ratio": 1.0}
    assert (
        probes.update_ratios(probes.weight_copies({"zero": [nn.Parameter(torch.zeros(2))]}), {"zero": [zero[:2]]}) == {}
    )  # type: ignore[dict-item]


@given(st.integers(1, 500), st.integers(1, 100))
def test_bins_cover_everything_evenly(size: int, most: int) -> None:
    starts = bin_starts(size, most)
    widths = np.diff([*starts, size])
    assert starts[0] == 0 and len(starts) == min(size, most)
    assert widths.min() >= 1 and widths.max() - widths.min() <= 1


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12), st.integers(0, 2**31))
def test_pooled_against_loops(rows: int, cols: int, most: int, seed: int) -> None:
    table = torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))
    cells = probes.pooled(table, most)
    high, wide = min(rows, most), min(cols, most)
    assert cells.shape == (high, wide) and cells.dtype == np.float32 and cells.flags.c_contiguous
    for i in range(high):
        for j in range(wide):
            mine = [
                float(table[r, c])
                for r in range(i * rows // high, (i + 1) * rows // high)
                for c in range(j * cols // wide, (j + 1) * cols // wide)
            ]
            assert cells[i, j] == pytest.approx(sum(mine) / len(mine), rel=1e-4, abs=1e-5)


def test_pooled_is_a_copy(device: str) -> None:
    table = torch.zeros(3, 3, device=device)
    cells = probes.pooled(table)
    table += 1
    assert not cells.any()


def test_token_tables_are_values_and_gradient(device: str) -> None:
    model, _ = trained_once("bigram", device)
    weight = model.token_embedding.weight
    tables = probes.weight_tables(model) | probes.gradient_tables(model)
    np.testing.assert_array_equal(tables["weights/token_embedding"], weight.detach().cpu().numpy())
    np.testing.assert_array_equal(tables["gradients/token_embedding"], weight.grad.cpu().numpy())  # type: ignore[union-attr]
    weight.grad = None
    assert probes.gradient_tables(model) == {}
    wide = build(PRESETS["bigram"].config, 300)
    assert probes.weight_tables(wide)["weights/token_embedding"].shape == (96, 96)


# ------------------------------------------------------------------ an update beside its gradient


@pytest.mark.parametrize("name", MODELS)
def test_update_agreement_at_the_first_step_of_adamw_is_one_and_one(name: str, device: str) -> None:
    model, _ = trained_once(name, device)
    kept = probes.weight_copies(model.layers())
    torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0).step()
    found = probes.update_agreement(kept, model.layers(), 1e-2)
    assert found["update_against_gradient"] == 1.0
    assert found["update_per_lr"] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("most", [probes.MOST_COMPARED, 50], ids=["all", "every so many"])
def test_update_agreement_counts_weights_with_a_gradient_alone(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "MOST_COMPARED", most)
    weight = nn.Parameter(torch.zeros(400))
    gradient = torch.arange(400.0) % 4 - 1  # -1, 0, 1, 2
    weight.grad = gradient.clone()
    moved = torch.where(torch.arange(400) % 8 < 4, -1.0, 1.0) * gradient * 0.5
    before = {"all": [weight.detach() - moved]}
    found = probes.update_agreement(before, {"all": [weight]}, 0.1)
    every = max(1, 400 // most)
    slope, step = gradient[::every], moved[::every]
    has = slope != 0
    assert found["update_against_gradient"] == pytest.approx(float((step * slope < 0)[has].float().mean()))
    assert found["update_per_lr"] == pytest.approx(float(step[has].abs().median()) / 0.1)


def test_update_agreement_is_none_without_a_gradient() -> None:
    weight = nn.Parameter(torch.ones(3))
    before = {"all": [torch.zeros(3)]}
    assert probes.update_agreement(before, {"all": [weight]}, 0.1) == {}
    weight.grad = torch.zeros(3)
    assert probes.update_agreement(before, {"all": [weight]}, 0.1) == {}


def test_after_its_first_step_adamw_moves_many_weights_along_their_slope_and_by_less_than_lr(corpus) -> None:
    start = plain("gpt-tiny")
    emitted: list[object] = []
    settings = changed(start.settings, speed="unlimited", max_steps=60)
    trainer = Trainer(changed(start.config, observe_every=1, sample_every=10**6), settings, corpus, emitted.append)
    for _ in range(60):
        trainer.advance()
    seen = {one.step: one.scalars for one in emitted if isinstance(one, Observation) and "update_per_lr" in one.scalars}
    assert seen[1]["update_against_gradient"] > 0.99 and seen[1]["update_per_lr"] == pytest.approx(1, abs=0.02)
    late = [seen[step] for step in range(41, 61)]
    assert 0.3 < np.mean([one["update_against_gradient"] for one in late]) < 0.8
    assert np.mean([one["update_per_lr"] for one in late]) < 0.4
