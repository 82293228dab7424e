"""The charts as data: what feeds them, what they are compared with, and what is never claimed."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from engine.models.bigram import Bigram
from engine.models.gpt import GPT as GPT_MODEL
from engine.text.baselines import Baselines
from pages.charts.palette import LAYERS, TWINS
from pages.charts.panel import Panel, RunInfo
from pages.charts.training import training_panels

BIGRAM = RunInfo(
    run="run-1",
    title="bigram on tiny shakespeare",
    model=Bigram,
    tokens=tuple("\n abcdefghijklmnopqrstuvwxyz"),
    baselines=Baselines(4.174387, 3.3091, 2.451913, 400),
    layers=("token_embedding",),
)
GPT = dataclasses.replace(
    BIGRAM,
    model=GPT_MODEL,
    title="gpt",
    layers=("token_embedding", "position_embedding", "blocks.0", "blocks.1", "head"),
)


def panel(info: RunInfo, key: str) -> Panel:
    return next(one for one in training_panels(info) if one.key == key)


def layout(info: RunInfo, key: str) -> dict[str, Any]:
    figure: dict[str, Any] = panel(info, key).as_json()["figure"]
    return dict(figure["layout"])


def metas(info: RunInfo, key: str) -> Iterator[dict[str, Any]]:
    for trace in panel(info, key).as_json()["figure"]["data"]:
        yield trace["meta"]


@pytest.mark.parametrize("info", [BIGRAM, GPT], ids=["bigram", "gpt"])
def test_every_panel_is_plain_json_with_its_own_place(info: RunInfo) -> None:
    told = [json.loads(json.dumps(one.as_json())) for one in training_panels(info)]
    assert [one["key"] for one in told] == ["loss", "table", "grad_norm", "update_ratio", "samples"]
    assert sorted(one["area"] for one in told) == ["foot", "left", "main", "right", "side"]
    assert len(json.dumps(told)) < 20_000


@pytest.mark.parametrize("info", [BIGRAM, GPT], ids=["bigram", "gpt"])
def test_every_axis_is_named_and_every_panel_says_what_healthy_looks_like(info: RunInfo) -> None:
    for one in training_panels(info):
        assert "ealthy" in one.help
        if one.figure is not None:
            assert one.figure.layout.xaxis.title.text and one.figure.layout.yaxis.title.text


def test_the_loss_is_compared_with_the_three_baselines() -> None:
    shown = layout(BIGRAM, "loss")
    assert [shape["y0"] for shape in shown["shapes"]] == [4.174387, 3.3091, 2.451913]
    assert [note["text"] for note in shown["annotations"]] == [
        "guessing: ln 28 = 4.174",
        "knows letter frequencies 3.309",
        "floor for any bigram (training text) 2.452",
    ]
    assert shown["meta"] == {"events": "text"}


def test_the_labels_of_the_baselines_hide_no_curve() -> None:
    for info in (BIGRAM, GPT):
        assert not any("bgcolor" in note for note in layout(info, "loss")["annotations"])


@pytest.mark.parametrize("key", ["loss", "grad_norm", "update_ratio"])
def test_wide_numbers_push_the_name_of_the_axis_aside_and_each_has_its_own_exponent(key: str) -> None:
    axis = layout(BIGRAM, key)["yaxis"]
    assert axis["automargin"] == "left" and axis["tickformat"] == ",.5~g"


def test_loss_traces_name_their_channels() -> None:
    assert list(metas(BIGRAM, "loss")) == [
        {"channel": "train/loss", "smooth": True, "run": "previous"},
        {"channel": "train/loss"},
        {"channel": "train/loss", "smooth": True},
        {"channel": "train/loss:nan"},
        {"channel": "val/loss"},
        {"channel": "val/loss", "only": "lowest"},
    ]


def test_a_run_by_epochs_shows_both_evaluations_over_steps_and_tokens() -> None:
    by_epochs = dataclasses.replace(GPT, epochs=3)
    assert {"channel": "eval/train_loss"} in list(metas(by_epochs, "loss"))
    assert layout(by_epochs, "loss")["meta"] == {"events": "text", "above": "tokens_seen"}
    assert layout(by_epochs, "loss")["xaxis2"]["title"]["text"] == "tokens seen"
    assert "xaxis2" not in layout(GPT, "loss")


def test_letters_are_called_letters_and_tokens_tokens() -> None:
    pairs = dataclasses.replace(BIGRAM, tokens=("a", "b", "ab"))
    assert "knows letter frequencies 3.309" in json.dumps(layout(BIGRAM, "loss"))
    assert "knows token frequencies 3.309" in json.dumps(layout(pairs, "loss"))


def test_layers_get_lines_of_their_own_only_where_there_are_several() -> None:
    assert [meta["channel"] for meta in metas(BIGRAM, "update_ratio")] == ["update_ratio"]
    assert [meta["channel"] for meta in metas(GPT, "update_ratio")] == [
        *(f"update_ratio/{layer}" for layer in GPT.layers),
        "update_ratio",
    ]


def test_lines_of_layers_have_names_that_people_read() -> None:
    stored = ("token_embedding", "position_embedding", "block_0", "block_11", "head")
    data = panel(dataclasses.replace(GPT, layers=stored), "grad_norm").as_json()["figure"]["data"]
    names = [trace["name"] for trace in data if trace["meta"].get("group") == "layers"]
    assert names == ["token embedding", "position embedding", "block 1", "block 12", "head"]


def test_the_healthy_band_is_drawn_for_a_gpt_and_never_for_a_bigram() -> None:
    assert "shapes" not in layout(BIGRAM, "update_ratio")
    (band,) = layout(GPT, "update_ratio")["shapes"]
    assert band["y0"] < 1e-3 < band["y1"]


def test_a_small_gpt_that_learns_well_is_not_called_ill() -> None:
    help_of = {panel.key: panel.help for panel in training_panels(GPT)}
    assert "healthy" not in json.dumps(layout(GPT, "update_ratio")), "gpt-tiny's own layers lie above the band"
    assert "above it and is healthy" in help_of["update_ratio"]
    assert "may climb all the while that its loss falls" in help_of["grad_norm"]
    assert "may climb" not in {panel.key: panel.help for panel in training_panels(BIGRAM)}["grad_norm"]


def test_only_a_bigram_table_is_shown_as_probabilities() -> None:
    (bigram,) = metas(BIGRAM, "table")
    (gpt,) = metas(GPT, "table")
    assert [view["name"] for view in bigram["views"]] == ["prob", "weights", "gradient"]
    assert bigram["views"][0]["rows"] == "softmax"
    assert [view["name"] for view in gpt["views"]] == ["weights", "gradient"]
    assert all(view["bar"] for view in (*bigram["views"], *gpt["views"])), "every colour bar is named"
    assert layout(BIGRAM, "table")["meta"] == {"tokens": "xy"}
    assert layout(GPT, "table")["meta"] == {"tokens": "y"}


@pytest.mark.parametrize("count", [2, 3, 8, 9, 40])
def test_any_number_of_layers_has_colours_from_first_to_last(count: int) -> None:
    info = dataclasses.replace(BIGRAM, model=GPT_MODEL, layers=tuple(f"layer{i}" for i in range(count)))
    data = panel(info, "grad_norm").as_json()["figure"]["data"]
    colours = [trace["line"]["color"] for trace in data[:count]]
    assert (colours[0], colours[-1]) == (LAYERS[0], LAYERS[-1])
    places = [LAYERS.index(colour) for colour in colours]
    assert places == sorted(places)


def test_every_colour_has_a_light_twin() -> None:
    for info in (BIGRAM, GPT):
        for one in training_panels(info):
            for colour in re.findall(r"#[0-9A-Fa-f]{6}|rgba\([^)]*\)", json.dumps(one.as_json())):
                assert colour in TWINS


def test_a_figure_carries_no_data_and_no_template() -> None:
    for one in training_panels(GPT):
        if one.figure is None:
            continue
        told = one.as_json()["figure"]
        assert not any({"x", "y", "z"} & trace.keys() for trace in told["data"])
        assert not told["layout"].get("template")


def test_a_recorded_run_shows_what_it_tells() -> None:
    channels = ("train/loss", "step_time", "grad_norm", "accuracy", "<b>", "of/table/w", "table/w", "samples")
    shown = {panel.key: panel for panel in training_panels(recorded(channels))}
    assert list(shown) == ["loss", "table", "grad_norm", "own/accuracy", "own/<b>", "own/of/table/w", "samples"]
    assert shown["own/<b>"].figure.layout.yaxis.title.text == "&lt;b&gt;", "a name is no markup"
    assert [view["channel"] for view in shown["table"].figure.data[0].meta["views"]] == ["table/w"]
    assert [panel.key for panel in training_panels(recorded(("train/loss",)))] == ["loss"]


def recorded(channels: tuple[str, ...]) -> RunInfo:
    return RunInfo("r", "mine", None, (), None, (), channels=channels)
