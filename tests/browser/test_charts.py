"""The charts over steps, as they stand in a browser: what marks them, where their words go, and their pictures."""

from __future__ import annotations

import re
from collections.abc import Callable

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


@pytest.fixture
def tab(server: Server, new_tab: Callable[..., Stage]) -> Stage:
    """A tab on a page that would start a steady bigram; nothing is under way."""
    return new_tab(server).fresh(STEADY)


@pytest.mark.thorough
def test_steps_made_one_by_one_leave_one_mark_and_knobs_keep_theirs(tab: Stage) -> None:
    stage = tab.start()
    for notch in range(TWO_NOTCHES):
        stage.press("ArrowUp")
        stage.wait("board.data.events.filter(({ name }) => name === 'lr').length > given", notch)
    stage.press("Space")
    stage.is_in("paused")
    paused = stage.page.evaluate(f"{BOARD}.data.stream.step")
    for step in range(paused + 1, paused + 6):
        expect(stage.button("play")).to_have_text(re.compile("Resume"))
        stage.press("ArrowRight")
        stage.wait("board.data.stream.step === given && board.data.stream.state === 'paused'", step)
    stage.wait("board.data.events.filter(({ name }) => name === 'paused').length === 6")
    marks = f"({MARKS})(board)"
    stage.wait(f"{marks}[1].includes(given)", f"paused at step {paused + 5:,}")
    steps, words = stage.page.evaluate(f"() => ({MARKS})({BOARD})")
    assert len(steps) == len(set(steps)) == 2 + TWO_NOTCHES, "started, each knob, and the last pause"
    assert sum(word.startswith("lr ") for word in words) == TWO_NOTCHES
    assert sum(word.startswith("paused") for word in words) == 1


@pytest.mark.thorough
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


@pytest.mark.parametrize("width", [1280, pytest.param(1600, marks=pytest.mark.thorough)])
def test_the_back_row_reads_the_names_of_all_curves(server: Server, new_tab: Callable[..., Stage], width: int) -> None:
    stage = new_tab(server, viewport={"width": width, "height": width * 9 // 16}).fresh(STEADY).start()
    reset_after_some_steps(stage)
    stage.wait("board.previousRun")
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
