"""First steps as a session sees it: the table of points, the lane that learns them, the layer and its gradients."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine.analysis.least_squares import largest_stable_lr
from engine.models import registry
from engine.presets import preset
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.stream.status import State
from engine.text.points import Points, read_points
from engine.training.trainer import Trainer
from pages.charts.line import line_panels
from pages.charts.palette import TWINS
from pages.charts.panel import RunInfo

SHELL = str(Path(__file__).resolve().parent.parent.parent / "pages" / "shell.py")
PAGE = "first_steps.py"
LAYER = "The 5→3 layer"
THREE = "1,3 2,5 3,7"


@pytest.fixture
def manager(house: RunManager) -> RunManager:
    """The process's manager, as pages see it."""
    return house


@pytest.fixture
def opened(manager: RunManager) -> Callable[[], AppTest]:
    def open_page() -> AppTest:
        page = AppTest.from_file(SHELL, default_timeout=60).run()
        page.switch_page(PAGE).run()
        assert not page.exception
        return page

    return open_page


def click(page: AppTest, key: str) -> None:
    """Press a button, by its key or by the words on it."""
    (button,) = [button for button in page.button if key in (button.key, button.label)]
    button.click().run()
    assert not page.exception


def edit(page: AppTest, **changes: Any) -> None:
    """Edit the table as the browser tells it: edited_rows, added_rows, deleted_rows."""
    (table,) = page.data_editor
    page.session_state[table.key] = {"edited_rows": {}, "added_rows": [], "deleted_rows": [], **changes}
    page.run()
    assert not page.exception


def words(page: AppTest) -> str:
    return "\n".join(text.value for text in page.text)


def panels_of(points: tuple[tuple[float, float], ...]) -> list[dict[str, Any]]:
    """What the board is sent for a line through `points`."""
    facts = RunInfo(
        "run", "line", model=registry.find("line"), tokens=(), baselines=None, layers=("a", "b"), points=points
    )
    return [panel.as_json() for panel in line_panels(facts)]


def lane_of(manager: RunManager) -> Run:
    lane = manager.run_named("line")
    assert lane is not None
    return lane


def test_document_002_line_waits_at_step_0_as_soon_as_the_page_is_open(
    opened: Callable[[], AppTest], manager: RunManager
) -> None:
    page = opened()
    lane, start = lane_of(manager), preset("document-002-line")
    assert (lane.config.points, lane.settings) == (THREE, start.settings)
    assert (lane.state, lane.step, manager.current) == (State.READY, 0, None)
    assert page.data_editor[0].value.to_numpy().tolist() == [[1, 3], [2, 5], [3, 7]]
    opened()
    assert lane_of(manager) is lane, "a second visitor sees the same line"


def test_start_moves_the_line_and_pause_holds_it(
    opened: Callable[[], AppTest], manager: RunManager, wait_until: Callable[..., None]
) -> None:
    page = opened()
    click(page, "Start")
    lane = lane_of(manager)
    wait_until(lambda: lane.step > 2)
    page.run()
    click(page, "Pause")
    wait_until(lambda: lane.state is State.PAUSED)
    step = lane.step
    page.run()
    click(page, "+1")
    wait_until(lambda: lane.step == step + 1 and lane.state is State.PAUSED)
    manager.pump.drain()
    assert lane.history.series["parameter/a"].view(9)[1][-1] > 0
    assert lane.status().passes == lane.step, "a step uses all the points: it is a pass"
    click(page, "line_reset")
    assert lane_of(manager) is not lane
    assert lane_of(manager).step == 0


def test_document_002_an_iteration_of_a_text_is_no_epoch(manager: RunManager, wait_until: Callable[..., None]) -> None:
    start = preset("bigram")
    run = manager.prepare_demo("step", start.config, start.settings)
    run.make_steps(3)
    wait_until(lambda: run.step == 3)
    assert run.status().passes == pytest.approx(3 * 32 * 8 / len(run.corpus.train))


def test_document_002_the_fourth_point_and_back(opened: Callable[[], AppTest], manager: RunManager) -> None:
    page = opened()
    first = lane_of(manager)
    click(page, "Add (4, 8)")
    assert lane_of(manager).config.points == f"{THREE} 4,8"
    assert (lane_of(manager).step, first._thread.is_alive()) == (0, False)
    assert "line 0.075, quadratic 0.0125, cubic 0." in words(page)
    assert "y = 1.5 + 1.7 x" in words(page)
    click(page, "The three points")
    assert lane_of(manager).config.points == THREE


def test_an_edited_cell_is_a_new_line_at_step_0(opened: Callable[[], AppTest], manager: RunManager) -> None:
    page = opened()
    edit(page, edited_rows={2: {"y": 7.123456789}})
    assert read_points(lane_of(manager).config.points)[2] == (3, pytest.approx(7.123456789, rel=1e-8))
    lane = lane_of(manager)
    page.run()
    assert lane_of(manager) is lane, "drawn again, nothing has changed"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"edited_rows": {1: {"y": None}}}, "row 2 has no y"),
        ({"edited_rows": {0: {"x": None}}}, "row 1 has no x"),
        ({"added_rows": [{}]}, "row 4 has no numbers"),
        ({"added_rows": [{"x": 1e9, "y": 1}]}, "too far out"),
        ({"deleted_rows": [0, 1, 2]}, "0 points are not possible"),
    ],
)
def test_bad_points_say_a_sentence_and_nothing_is_lost(
    opened: Callable[[], AppTest], manager: RunManager, changes: dict[str, Any], named: str
) -> None:
    page = opened()
    lane = lane_of(manager)
    edit(page, **changes)
    assert named in words(page)
    assert lane_of(manager) is lane
    rows = len(page.session_state.line_rows)
    click(page, "Add (4, 8)")
    assert len(page.session_state.line_rows) == rows + 1, "what was typed stays in the table"


@pytest.mark.parametrize(
    ("points", "named"),
    [
        ([{"x": 2, "y": 4}], "One point is not enough"),
        ([{"x": 2, "y": 4}, {"x": 2, "y": 4}], "the two points are the same"),
        ([{"x": 2, "y": 4}, {"x": 2, "y": 5}, {"x": 2, "y": 6}], "both points have x = 2"),
        ([{"x": 1e6, "y": -1e6}, {"x": -1e6, "y": 1e6}], "MSE 0"),
        ([{"x": 0, "y": 0}], "needs 2 different x"),
        ([{"x": 1e-9, "y": 5}, {"x": 2e-9, "y": 5}], "MSE 0"),
    ],
)
def test_degenerate_points_give_sentences(
    opened: Callable[[], AppTest],
    manager: RunManager,
    wait_until: Callable[..., None],
    points: list[dict[str, float]],
    named: str,
) -> None:
    page = opened()
    edit(page, deleted_rows=[0, 1, 2], added_rows=points)
    assert named in words(page)
    pairs = tuple((point["x"], point["y"]) for point in points)
    assert tuple(read_points(lane_of(manager).config.points)) == pairs
    told = json.dumps(panels_of(pairs))
    assert told.count('"key"') == 3
    assert "NaN" not in told and "Infinity" not in told
    click(page, "overstep")
    lane = lane_of(manager)
    wait_until(lambda: lane.step > 0 or lane.state is State.DIVERGED)


def test_just_above_the_largest_stable_rate_the_loss_grows(
    opened: Callable[[], AppTest], manager: RunManager, wait_until: Callable[..., None]
) -> None:
    page = opened()
    click(page, "overstep")
    lane = lane_of(manager)
    assert lane.settings.lr > largest_stable_lr(read_points(THREE))
    page.run()
    (speed,) = [group for group in page.button_group if (group.key or "").startswith("line_speed")]
    speed.set_value(100).run()
    assert lane.settings.speed == 100
    wait_until(lambda: lane.step > 60)
    manager.pump.drain()
    losses = lane.history.series["train/loss"].view(2000)[1]
    assert losses[60] > losses[40] > losses[20]


def test_a_change_in_one_session_is_on_show_in_another(opened: Callable[[], AppTest], manager: RunManager) -> None:
    mine, yours = opened(), opened()
    click(mine, "Add (4, 8)")
    yours.run()
    assert len(yours.data_editor[0].value) == 4
    assert "(4, 8)" in " ".join(yours.selectbox[0].options)


def test_the_room_s_run_is_left_alone(
    opened: Callable[[], AppTest], manager: RunManager, wait_until: Callable[..., None]
) -> None:
    start = preset("bigram")
    run = manager.prepare(start.config, start.settings)
    run.make_steps(3)
    wait_until(lambda: run.step == 3 and run.state is State.PAUSED)
    before = run.copy_weights()
    page = opened()
    click(page, "Start")
    wait_until(lambda: lane_of(manager).step > 1)
    click(page, "Add (4, 8)")
    page.session_state.part = LAYER
    page.run()
    after = run.copy_weights()
    assert manager.current is run and run.step == 3 and run.state is State.PAUSED
    assert before[0] == after[0] and all(torch.equal(before[1][name], after[1][name]) for name in before[1])


def test_document_002_the_layer_prints_the_gradients_of_five_steps(
    opened: Callable[[], AppTest], manager: RunManager
) -> None:
    page = opened()
    page.session_state.part = LAYER
    page.run()
    page.number_input(key="layer_seed").set_value(7).run()
    assert not page.exception
    config = preset("document-002").config.model_copy(update={"seed": 7})
    trainer = Trainer(config, preset("document-002").settings, Points.of(config), lambda _: None)
    w = trainer.model.w.detach().clone().requires_grad_()  # document 002's own loop, from the same first weights
    b = trainer.model.b.detach().clone().requires_grad_()
    optimizer = torch.optim.SGD([w, b], lr=0.01)
    expected = []
    for step in range(5):
        optimizer.zero_grad()
        z = torch.matmul(torch.ones(5), w) + b
        loss = torch.nn.functional.binary_cross_entropy_with_logits(z, torch.zeros(3))
        loss.backward()
        expected.append(f"Training step {step}:\n{w.grad}\n{b.grad}\nloss {loss.item():.6f}")
        optimizer.step()
    (code,) = page.code
    assert code.value == "\n\n".join(expected)
    assert "5 of 5 rows of w.grad equal b.grad" in words(page)


def test_the_way_to_the_stage_prepares_the_preset_and_starts_nothing(
    opened: Callable[[], AppTest], manager: RunManager
) -> None:
    page = opened()
    click(page, "Open on Train")
    assert page.query_params["preset"] == "document-002-line"
    assert (page.session_state.plan.config.preset, manager.current) == ("document-002-line", None)


def test_the_way_to_the_stage_asks_about_a_run_under_way(opened: Callable[[], AppTest], manager: RunManager) -> None:
    run = manager.prepare(preset("bigram").config, preset("bigram").settings)
    run.start()
    page = opened()
    click(page, "Open on Train")
    assert "document-002-line is set up. Start it?" in words(page)
    assert (manager.current, run.alive) == (run, True), "nothing has started, and nothing has stopped"
    click(page, "Start it")
    assert manager.current is not None and manager.current.config.preset == "document-002-line"


def test_the_board_is_told_what_feeds_each_moving_trace() -> None:
    pairs = ((1.0, 3.0), (2.0, 5.0), (3.0, 7.0), (4.0, 8.0))
    line, surface, loss = panels_of(pairs)
    metas = [trace.get("meta", {}) for panel in (line, surface) for trace in panel["figure"]["data"]]
    weights, slopes = ["parameter/a", "parameter/b"], ["gradient/a", "gradient/b"]
    fed = {key: meta[key] for meta in metas for key in meta.keys() & {"line", "residuals", "path", "here", "downhill"}}
    assert fed == {
        "line": weights, "residuals": weights, "path": weights, "here": weights, "downhill": [*weights, *slopes]
    }  # fmt: skip
    (cross,) = [trace for trace in surface["figure"]["data"] if trace.get("name") == "least"]
    (arrow,) = [meta for meta in metas if "downhill" in meta]
    assert arrow["label"].startswith("downhill"), "it points against the gradient"
    assert np.array([cross["x"][0], cross["y"][0]]) == pytest.approx([1.7, 1.5])
    assert loss["figure"]["layout"]["shapes"][0]["y0"] == pytest.approx(0.075)
    assert loss["figure"]["layout"]["yaxis"]["rangemode"] == "tozero", "no square is below 0"
    for colour in re.findall(r"#[0-9A-Fa-f]{6}|rgba\([^)]*\)", json.dumps([line, surface, loss])):
        assert colour in TWINS, "light paper has no twin of it"
    assert panels_of(()) == []
