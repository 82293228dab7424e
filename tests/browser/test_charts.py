"""The charts over steps, as they stand in a browser: what marks them, where their words go, and their pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.served import Server
from tests.browser.stage import BOARD, Stage

STEADY = "/?preset=bigram&speed=100&max_steps=1000000"
TWO_NOTCHES = 2

# The steps of the vertical lines on the loss chart, and the words beside them.
MARKS = """(board) => {
  const { shapes, annotations } = board.panels.get("loss").chart.plot.layout;
  return [shapes.filter(({ xref }) => xref === "x").map(({ x0 }) => x0),
          annotations.filter(({ xref }) => xref === "x").map(({ text }) => text)];
}"""
CALL = "async ([name, ...given]) => (await import('/charts/labels.js'))[name](...given)"


@pytest.fixture
def tab(server: Server, new_tab: Callable[..., Stage]) -> Stage:
    """A tab on a page that would start a steady bigram; nothing is under way."""
    return new_tab(server).fresh(STEADY)


def test_steps_made_one_by_one_leave_one_mark_and_knobs_keep_theirs(tab: Stage) -> None:
    stage = tab.start()
    for notch in range(TWO_NOTCHES):
        stage.press("ArrowUp")
        stage.wait("board.events.filter(({ name }) => name === 'lr').length > given", notch)
    stage.press("Space")
    stage.is_in("paused")
    paused = stage.page.evaluate(f"{BOARD}.stream.step")
    for step in range(paused + 1, paused + 6):
        expect(stage.button("play")).to_have_text(re.compile("Resume"))
        stage.press("ArrowRight")
        stage.wait("board.stream.step === given && board.stream.state === 'paused'", step)
    stage.wait("board.events.filter(({ name }) => name === 'paused').length === 6")
    marks = f"({MARKS})(board)"
    stage.wait(f"{marks}[1].includes(given)", f"paused at step {paused + 5:,}")
    steps, words = stage.page.evaluate(f"() => ({MARKS})({BOARD})")
    assert len(steps) == len(set(steps)) == 2 + TWO_NOTCHES, "started, each knob, and the last pause"
    assert sum(word.startswith("lr ") for word in words) == TWO_NOTCHES
    assert sum(word.startswith("paused") for word in words) == 1


def events(*told: tuple[int, str]) -> list[dict[str, Any]]:
    return [{"step": step, "name": name} for step, name in told]


def test_which_events_are_worth_a_line(tab: Stage) -> None:
    told = events((0, "started"), (5, "paused"), (6, "paused"), (6, "lr"), (7, "paused"), (7, "resumed"), (9, "paused"))
    kept = tab.page.evaluate(CALL, ["worthALine", [*told, *events((9, "forked"), (9, "resumed"), (12, "resumed"))]])
    names = [(one["step"], one["name"]) for one in kept]
    pauses, others = [(7, "paused"), (9, "paused"), (12, "resumed")], [(0, "started"), (6, "lr"), (9, "forked")]
    assert names == pauses + others, "what comes last is labelled first"


def places(stage: Stage, labels: list[Any], curves: list[Any], before: list[Any]) -> list[float | None]:
    boxes = [{"long": 100, "top": top, "bottom": top + 20} for top in labels]
    found = stage.page.evaluate(CALL, ["arrange", boxes, curves, 500, [{"place": place} for place in before]])
    return [one and one["place"] for one in found]


def test_a_label_stands_where_curves_leave_room(tab: Stage) -> None:
    falls, flat = [[0, 0], [100, 0], [450, 300]], [[0, 110], [500, 110]]
    assert places(tab, [100], [], []) == [1]
    assert places(tab, [100], [[[0, 0], [350, 0], [500, 300]]], []) == [0.75]
    assert places(tab, [100], [[[260, 110], [500, 110]]], []) == [0.25], "the rise at the right stays free"
    assert places(tab, [100], [falls], [0.5]) == [1], "it has to move: the curve runs there"
    assert places(tab, [100], [flat], [0.5]) == [0.5], "nowhere is better: it stays"
    assert places(tab, [100, 110, 200], [], []) == [1, 0.75, 1]
    assert places(tab, [100] * 5, [], []) == [1, 0.75, 0.5, 0.25, 0]
    assert places(tab, [100] * 6, [], [])[-1] is None, "rather no label than one on another"


def test_what_is_known_at_some_steps_says_at_which(tab: Stage) -> None:
    traces = tab.page.evaluate(f"() => {BOARD}.panels.get('loss').chart.plot.data")
    said = {trace["name"]: trace["hovertemplate"] for trace in traces if trace["hovertemplate"]}
    assert "at step" in said["its lowest"] and "at step" in said["validation"] and "at step" not in said["train"]
    assert all("%{y:.4g}" in one for one in said.values()), "the same digits for all"


def reset_after_some_steps(stage: Stage) -> None:
    stage.reaches(20)
    stage.button("stop").click()
    stage.is_in("stopped")
    expect(stage.button("play")).to_have_text(re.compile("Start"))
    stage.press("Backspace")


@pytest.mark.parametrize("width", [1280, 1600])
def test_the_back_row_reads_the_names_of_all_curves(server: Server, new_tab: Callable[..., Stage], width: int) -> None:
    stage = new_tab(server, viewport={"width": width, "height": width * 9 // 16}).fresh(STEADY).start()
    reset_after_some_steps(stage)
    stage.wait("board.ghost")
    stage.press("p")
    stage.wait("document.querySelector('.presenter .ls-board')")
    stage.wait("""[...document.querySelectorAll('[data-panel="loss"] .ls-key')].every((key) => {
      const [own, room] = [key, key.parentNode].map((node) => node.getBoundingClientRect());
      return own.right <= room.right + 1 && own.bottom <= room.bottom + 1;
    })""")
    stage.press("p")


def test_the_run_before_is_drawn_before_the_first_step_of_the_next(
    server: Server, new_tab: Callable[..., Stage]
) -> None:
    stage = new_tab(server).fresh(STEADY).start()
    reset_after_some_steps(stage)
    stage.is_in("ready")
    stage.wait(
        "board.panels.get('loss').chart.plot.data.find((trace) => trace.meta?.run === 'previous').y.length === 10"
    )
