"""The sweep on the Race page: bets that are trained at once, other knobs as lanes of a race, and a point as a run."""

from __future__ import annotations

import json
import math
from urllib.parse import unquote

import pytest

from engine.config import changed
from engine.presets import preset
from engine.stream.status import State
from engine.sweeps.sweep import Point
from pages.charts.palette import ERROR, LAYERS, TRAIN, TWINS
from pages.charts.pictures.sweep import sweep_figure, sweep_image
from pages.views.race.sweep_setup import is_busy


@pytest.fixture
def page(visit, house):
    house.pump.start()
    page = visit("race.py")
    (tabs,) = [one for one in page.get("button_group") if one.label == "what to look at"]
    tabs.set_value("Sweep").run()
    assert not page.exception
    return page


def words(page) -> str:
    return "\n".join(text.value for text in [*page.text, *page.caption, *page.markdown])


def drawn(page) -> dict:
    (found,) = [one.proto for one in page.get("plotly_chart") if one.proto.alt.startswith("Loss against")]
    return json.loads(found.spec)


def values_box(page):
    (box,) = [one for one in page.text_area if one.label == "its values"]
    return box


def train(page, values: str, steps: int) -> None:
    values_box(page).set_value(values).run()
    page.number_input(key="sweep_steps").set_value(steps).run()
    page.button(key="sweep_start").click().run()
    assert not page.exception


def test_bets_are_trained_at_once_and_any_point_opens_as_a_run(page, house, wait_until) -> None:
    start = preset("bigram")
    run = house.prepare(start.config, start.settings)
    train(page, "0.001, 0.05 0.05; 7", 40)
    sweep = page.session_state.sweep
    assert sweep.sweep.values == (0.001, 0.05, 7.0) and sweep.sweep.config.model == "bigram"
    wait_until(lambda: sweep.job.done, 120)
    page.run()
    assert not page.exception
    told = words(page)
    assert "Lowest: learning rate 0.05" in told and "over its whole validation part" in told
    figure = drawn(page)
    assert figure["layout"]["xaxis"]["type"] == "log"
    (inside,) = [trace for trace in figure["data"] if trace.get("name") == "in"]
    assert inside["x"] == [0.001, 0.05, 7.0] or inside["x"] == [0.001, 0.05]
    page.selectbox(key=next(one.key for one in page.selectbox if str(one.key).startswith("sweep_point"))).set_value(
        0.001
    ).run()
    page.button(key="sweep_open").click().run()
    planned = page.session_state.plan
    assert (planned.settings.lr, planned.settings.max_steps) == (0.001, 40) and planned.config == sweep.sweep.config
    assert house.current is run and run.step == 0, "no run is touched"


def test_a_sweep_can_be_stopped(page, wait_until) -> None:
    train(page, "0.01, 0.1", 100_000)
    sweep = page.session_state.sweep
    wait_until(lambda: sweep.points())
    page.run()
    page.button(key="sweep_cancel").click().run()
    wait_until(lambda: sweep.job.done)
    page.run()
    assert "Ended early, after" in words(page) and not page.exception


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ("", "there is no value yet"),
        ("0.1, lots", "'lots' is not a number"),
        ("0.1, -1", "lr -1.0 is not possible; choose above 0"),
        (", ".join(str(n / 100) for n in range(1, 70)), "69 different values are not possible; choose 1 to 64"),
    ],
)
def test_wrong_values_are_told_in_a_sentence(page, values: str, told: str) -> None:
    train(page, values, 10)
    assert told in words(page) and "sweep" not in page.session_state


def test_a_range_fills_the_box(page) -> None:
    (low,) = [one for one in page.number_input if one.label == "from"]
    low.set_value(0.01).run()
    (count,) = [one for one in page.number_input if one.label == "how many"]
    count.set_value(4).run()
    next(one for one in page.button if one.label == "Fill in").click().run()
    assert values_box(page).value == "0.01, 0.1, 1, 10" and "4 different values" in words(page)


def test_other_knobs_are_lanes_of_a_race_up_to_eight(page, house, wait_until) -> None:
    page.selectbox(key="sweep_knob").set_value("batch_size").run()
    assert values_box(page).value == "1, 2, 4, 8, 16, 32, 64, 128"
    page.number_input(key="sweep_steps").set_value(60).run()
    page.button(key="sweep_start").click().run()
    wait_until(lambda: house.race is not None and not house.race.alive, 120)
    race = house.race
    assert [lane.settings.batch_size for lane in race.lanes] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert {lane.state for lane in race.lanes} == {State.DONE} and not race.history.tables
    page.run()
    assert not page.exception
    assert "over the whole validation part" in words(page)
    (inside,) = [trace for trace in drawn(page)["data"] if trace.get("name") == "in"]
    assert inside["marker"]["color"] == list(LAYERS) and inside["x"] == [1, 2, 4, 8, 16, 32, 64, 128]
    page.button(key="sweep_open").click().run()
    assert page.session_state.plan.settings.batch_size in (1, 2, 4, 8, 16, 32, 64, 128)


def test_nine_lanes_are_too_many(page) -> None:
    page.selectbox(key="sweep_knob").set_value("batch_size").run()
    train(page, "1 2 3 4 5 6 7 8 9", 10)
    assert "9 different values are not possible here: they are lanes of a race; choose 2 to 8" in words(page)


def test_the_picture_names_the_best_and_crosses_out_what_ended_higher_than_it_began() -> None:
    points = [Point(0.01, 3.0, None), Point(0.1, 2.4, None), Point(10.0, 90.0, None), Point(1e6, math.nan, 7)]
    figure = sweep_figure(points, "learning rate", "loss", first=4.8, guessing=4.2)
    out, inside = [trace for trace in figure.data if trace.name in ("out", "in")]
    assert list(inside.x) == [0.01, 0.1] and list(out.x) == [10.0, 1e6]
    assert set(out.marker.color) == {ERROR} and "diverged at step 7" in out.text and len(set(out.y)) == 1
    assert "0.1: 2.400" in [note.text for note in figure.layout.annotations]
    plain = unquote(sweep_image(points, "learning rate", "loss", 4.8, 4.2, (), "light"))
    assert plain.count("<circle") == 2 and plain.count("×") == 2 and "0.1: 2.400" in plain and TWINS[TRAIN] in plain
    assert sweep_figure([Point(0.0, 3.0, None), Point(1.0, 2.0, None)], "decay", "loss").layout.xaxis.type != "log"
    assert sweep_figure([Point(1.0, math.nan, 1)], "learning rate", "loss") is not None


def test_a_sweep_leaves_half_of_the_time_to_a_run(house, wait_until) -> None:
    start = preset("bigram")
    assert not is_busy()
    run = house.start(start.config, changed(start.settings, max_steps=10**6))
    wait_until(lambda: run.state is State.RUNNING)
    assert is_busy()


def test_a_sweep_by_a_race_asks_before_it_holds_a_run(page, house, wait_until) -> None:
    start = preset("bigram")
    run = house.start(start.config, changed(start.settings, max_steps=10**6))
    wait_until(lambda: run.state is State.RUNNING)
    page.selectbox(key="sweep_knob").set_value("batch_size").run()
    train(page, "4 8", 50)
    assert house.race is None and "Hold it and race?" in words(page)
    next(one for one in page.button if one.label == "Hold it").click().run()
    wait_until(lambda: house.race is not None and not house.race.alive, 120)
    assert run.state is State.PAUSED and [lane.settings.batch_size for lane in house.race.lanes] == [4, 8]
