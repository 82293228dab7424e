"""What the stages of a step show of real weights: first values, slopes made by hand, an update beside its gradient."""

from __future__ import annotations

import re

import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine.generators import generator
from engine.models.registry import build
from engine.presets import preset
from engine.training.trainer import STAGES, Trainer
from tests.pages.test_step import choose, copy_of, figures, opens_tensors, page  # noqa: F401
from tests.pages.test_train import click, manager, words  # noqa: F401


def forward_to(page: AppTest, stage: str) -> None:  # noqa: F811
    page.session_state["step_stage"] = STAGES.index(stage) + 1
    opens_tensors(page)
    assert any(title.value.endswith(stage) for title in page.subheader)


def cells(page: AppTest, row: str, column: str = "") -> list[str]:  # noqa: F811
    """The cells of the row of that name in the first table that has it, and a column of that name."""
    for table in page.table:
        if row in table.value.index and (not column or column in table.value.columns):
            return [str(cell) for cell in table.value.loc[row].tolist()]
    raise AssertionError(f"no table has a row {row!r}")


@pytest.mark.parametrize("name", ["bigram", "gpt-tiny", "document-002"])
def test_before_the_step_random_first_values_are_shown(page, name) -> None:  # noqa: F811
    choose(page, name)
    opens_tensors(page)
    source = copy_of(page).source
    model = build(source.config, source.dataset.vocab_size, generator(source.config.seed, "weights"))
    for parameter, drawn in model.named_parameters():
        first, mean, spread, *now = cells(page, parameter, "drawn: mean")
        assert [first, mean, spread] == now, "nothing has moved yet"
        assert float(first.replace("−", "-")) == pytest.approx(float(drawn.detach().flatten()[0]), rel=1e-3)
    total = sum(p.numel() for p in model.parameters())
    assert (
        f"Seed {source.config.seed:,} gave these {total:,} numbers, and no step has changed one of them yet."
        in words(page)
    )


@pytest.mark.parametrize("name", ["bigram", "gpt-tiny"])
def test_backward_by_hand_equals_torch_in_every_parameter(page, name) -> None:  # noqa: F811
    choose(page, name)
    forward_to(page, "backward")
    parameters = len(copy_of(page).moment.snapshot.weights)
    there_are = "1 parameter" if parameters == 1 else f"{parameters} parameters"
    assert f"equals torch's .grad to the last bit in {parameters} of {there_are}." in words(page)
    (by_hand,), (torchs,) = cells(page, "by hand, at the end of the way"), cells(page, "in .grad, by torch")
    assert by_hand == torchs


def test_one_weight_of_a_gpt_s_last_layer_is_written_out_as_a_sum(page) -> None:  # noqa: F811
    choose(page, "gpt-tiny")
    forward_to(page, "backward")
    (box,) = [one for one in page.selectbox if one.label == "parameter"]
    box.set_value("head.weight").run()
    assert not page.exception
    total = float(cells(page, "the sum")[-1].replace("−", "-"))
    (grad,) = cells(page, "in .grad, by torch")
    assert total == pytest.approx(float(grad.replace("−", "-")), rel=1e-4)


def test_the_update_stage_shows_agreement_with_the_gradient_over_training(page) -> None:  # noqa: F811
    forward_to(page, "update")
    assert cells(page, "moved against their slope") == ["100.0 %"]
    assert float(cells(page, "|Δw| ÷ learning rate, the middle weight")[0]) == pytest.approx(1, abs=0.01)
    assert "100 % moved against their slope in this update: at its first AdamW knows this batch alone." in words(page)
    drawn = figures(page)["The same over the next steps"]["data"]
    curves = {trace["name"]: trace for trace in drawn if trace["mode"] == "lines"}
    assert set(curves) == {"share that moved against the slope", "middle |Δw| ÷ learning rate"}
    for curve in curves.values():
        assert (
            curve["x"] == list(range(1, 101)) and curve["y"][0] == pytest.approx(1, abs=0.01) and curve["y"][-1] < 0.97
        )
    for _ in range(len(STAGES)):  # to the same stage of the next step
        click(page, "step_next")
    (share,) = cells(page, "moved against their slope")
    source = copy_of(page).source
    plain = Trainer(source.config, preset("bigram").settings, source.dataset, lambda _: None)
    plain.advance()
    before = [p.detach().clone() for p in plain.parameters]
    for _ in range(STAGES.index("update") + 1):
        plain.stage()
    slopes = torch.cat([p.grad.flatten() for p in plain.parameters])
    moved = torch.cat([(p.detach() - was).flatten() for p, was in zip(plain.parameters, before, strict=True)])
    against = float(((moved * slopes)[slopes != 0] < 0).float().mean())
    assert share == f"{100 * against:.1f} %" and against < 1
    assert "AdamW follows the mean of many batches" in words(page)


def test_observe_says_how_many_weights_moved_against_their_slope_and_the_change_as_a_share(page) -> None:  # noqa: F811
    forward_to(page, "observe")
    before, after = (float(cells(page, name)[0].replace("−", "-")) for name in ("before", "after"))
    (share,) = cells(page, "|Δw| ÷ |w|")
    assert float(share) == pytest.approx(abs(after - before) / abs(before), rel=1e-3)
    told = " ".join(str(one.proto) for one in page.get("markdown"))
    everything = told + words(page) + " ".join(one.value for one in page.caption)
    assert not re.search(r"weights move against the slope", everything)
