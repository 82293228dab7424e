"""The Race page, as a session sees it: the ready-made race to its picture, set-ups of one's own, and who is asked."""

from __future__ import annotations

import json

import pytest
from streamlit.elements.lib import policies

from engine.config import changed
from engine.presets import preset
from engine.runs.races.results import LaneResult, best_lane, lane_results, verdict
from engine.stream.status import State


@pytest.fixture
def page(visit, house):
    house.pump.start()
    return visit("race.py")


def click(page, key: str) -> None:
    page.button(key=key).click().run()
    assert not page.exception


def words(page) -> str:
    return "\n".join(text.value for text in page.text)


def picture(page):
    (found,) = [one.proto for one in page.get("plotly_chart") if one.proto.alt == "What the learning rate does"]
    return json.loads(found.spec)


def set_steps(page, count: int) -> None:
    (steps,) = [one for one in page.number_input if one.label == "iterations (steps)"]
    steps.set_value(count).run()


def choose_speed(page, speed) -> None:
    (limit,) = [one for one in page.get("button_group") if one.label.startswith("speed limit")]
    limit.set_value(speed).run()


def end(page, house, wait_until):
    wait_until(lambda: house.race is not None and not house.race.alive, 120)
    page.run()
    assert not page.exception
    return house.race


def test_the_ready_made_race_ends_in_its_picture(page, house, wait_until) -> None:
    assert [one.proto.alt for one in page.get("plotly_chart")] == ["Example: what a race of 2,000 steps came to"]
    set_steps(page, 60)
    full_speed(page)
    click(page, "race_ready")
    race = end(page, house, wait_until)
    assert [lane.settings.lr for lane in race.lanes] == [3e-4, 1e-2, 1.0, 10.0]
    assert {(lane.config.model, lane.config.optimizer, lane.step) for lane in race.lanes} == {("bigram", "adamw", 60)}
    figure = picture(page)
    assert figure["layout"]["xaxis"]["type"] == "log"
    found = lane_results(race)
    drawn = {trace["text"][0].replace("<br>", " ") for trace in figure["data"] if trace.get("mode") == "text"}
    assert drawn == {verdict(one, best_lane(found)) for one in found}
    assert [round(trace["y"][0], 9) for trace in figure["data"] if trace.get("name", "").startswith("lr ")] == [
        round(one.loss, 9) for one in found
    ]
    assert "The losses part at step 2." in words(page) and f"Lowest: {best_lane(found).name}." in words(page)


def full_speed(page) -> None:
    """At full speed: nobody watches."""
    choose_speed(page, "unlimited")


def test_lanes_of_ones_own(page, house, wait_until) -> None:
    set_steps(page, 50)
    full_speed(page)
    (count,) = [one for one in page.get("button_group") if one.label == "lanes"]
    count.set_value(2).run()
    page.selectbox(key="race_knob-0-0").set_value("").run()
    page.selectbox(key="race_knob-0-1").set_value("batch_size").run()
    page.number_input(key="race_value-0-1-batch_size").set_value(48).run()
    click(page, "race_play")
    race = end(page, house, wait_until)
    assert race.names == ("unchanged", "batch_size 48") and race.records.first_difference == 1
    (chart,) = [one.proto for one in page.get("plotly_chart")]
    assert chart.alt == "Where the lanes ended"
    assert json.loads(chart.spec)["layout"]["xaxis"]["type"] != "linear", "the lanes stand under their names"
    click(page, "race_compare")
    assert set(page.session_state.compared) == {lane.id for lane in race.lanes}


def test_transport_and_the_question(page, house, wait_until) -> None:
    start = preset("bigram")
    run = house.start(start.config, changed(start.settings, max_steps=1_000_000))
    page.run()
    click(page, "race_play")
    assert house.race is None and "Hold it and race?" in words(page)
    (yes,) = [button for button in page.button if button.label == "Hold it"]
    yes.click().run()
    race = house.race
    wait_until(lambda: race is not None and race.step > 3 and run.state is State.PAUSED)
    page.run()
    assert page.button(key="race_play").label == "Pause"
    click(page, "race_play")
    wait_until(lambda: race.state is State.PAUSED)
    at = race.step
    page.run()
    click(page, "race_ten")
    wait_until(lambda: race.step == at + 10 and race.state is State.PAUSED)
    page.run()
    assert page.button(key="race_play").label == "Resume"
    click(page, "race_stop")
    wait_until(lambda: race.state is State.STOPPED)


def test_from_the_current_run(page, house, wait_until) -> None:
    start = preset("bigram")
    run = house.start(start.config, changed(start.settings, max_steps=40, speed="unlimited"))
    wait_until(lambda: run.state is State.DONE)
    page.run()
    (begin,) = [one for one in page.get("button_group") if one.label == "all lanes begin at"]
    assert list(begin.options) == ["first weights", f"a step of {run.title}"]
    begin.set_value("this run").run()
    page.number_input(key="race_at").set_value(30).run()
    set_steps(page, 80)
    full_speed(page)
    click(page, "race_play")
    race = end(page, house, wait_until)
    assert [(lane.parent, lane.step) for lane in race.lanes] == [((run.id, 30), 80)] * 4
    assert house.current is run and "The losses part at step 32." in words(page)
    page.number_input(key="race_at").set_value(41).run()
    click(page, "race_play")
    assert "step 41 is not possible; choose one from 0 to 40" in words(page)


def test_a_race_from_a_run_that_is_far_goes_on_from_there(page, house, wait_until) -> None:
    start = preset("bigram")
    run = house.start(start.config, changed(start.settings, max_steps=2500, speed="unlimited"))
    wait_until(lambda: run.state is State.DONE)
    page.run()
    (begin,) = [one for one in page.get("button_group") if one.label == "all lanes begin at"]
    begin.set_value("this run").run()

    def steps() -> int:
        (found,) = [one for one in page.number_input if one.label == "iterations (steps)"]
        return found.value

    assert steps() == 4500
    set_steps(page, 2500)
    assert "2,500 iterations are not possible: the race begins at step 2,500" in words(page) and steps() == 4500
    page.number_input(key="race_at").set_value(1000).run()
    assert steps() == 3000
    set_steps(page, 1020)
    full_speed(page)
    click(page, "race_play")
    assert {lane.step for lane in end(page, house, wait_until).lanes} == {1020}


def test_the_race_of_three_optimizers_trains_each_by_its_own_rule(page, house, wait_until) -> None:
    click(page, "race_optimizers")
    wait_until(lambda: house.race is not None and all(lane.parameters for lane in house.race.lanes))
    assert house.race.names == ("sgd, momentum 0.9, lr 0.1", "adamw, lr 0.01", "muon, lr 0.005")
    kinds = [type(lane.loop.trainer.optimizer).__name__ for lane in house.race.lanes]
    assert kinds == ["SGD", "AdamW", "Muon"]
    assert house.race.lanes[0].loop.trainer.optimizer.param_groups[0]["momentum"] == 0.9
    wait_until(lambda: min(lane.step for lane in house.race.lanes) > 3, 60)
    house.race.stop()


def test_the_ready_made_race_begins_at_first_weights_whatever_was_chosen(page, house, wait_until, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(policies._LOGGER, "warning", lambda text, *_: said.append(text))
    start = preset("bigram")
    run = house.start(start.config, changed(start.settings, max_steps=20, speed="unlimited"))
    wait_until(lambda: run.state is State.DONE)
    page.run()
    (begin,) = [one for one in page.get("button_group") if one.label == "all lanes begin at"]
    begin.set_value("this run").run()
    set_steps(page, 40)
    full_speed(page)
    click(page, "race_ready")
    assert not page.warning and not said, "Streamlit complains of a widget that is set in two ways"
    assert [lane.parent for lane in end(page, house, wait_until).lanes] == [None] * 4


def lane(name: str, lr: float, loss: float, scatter: float = 0.1, falling: bool = False, **more) -> LaneResult:
    told = {"state": State.DONE, "step": 100, "first": 4.8, "low": loss - 0.1, "high": loss + 0.1, **more}
    return LaneResult(name=name, lr=lr, loss=loss, scatter=scatter, falling=falling, **told)


def test_the_words_are_those_of_the_numbers() -> None:
    slow, still = lane("a", 1e-4, 4.2, falling=True), lane("b", 1e-6, 4.8)
    good, also = lane("c", 0.01, 2.35), lane("d", 0.03, 2.40)
    jumps, fast = lane("e", 1.0, 2.61, scatter=0.2), lane("f", 0.1, 2.6)
    out = lane("g", 100.0, 9.0, state=State.DIVERGED, step=6)
    best = best_lane([slow, still, good, also, jumps, fast, out])
    assert best is good
    told = [verdict(one, best) for one in (slow, still, good, also, jumps, fast, out)]
    assert told == [
        "too slow: still falling",
        "too slow: hardly moves",
        "good",
        "good",
        "too fast: jumps about",
        "too fast",
        "diverged at step 7",
    ]
    assert verdict(out, best_lane([out])) == "diverged at step 7"
