"""Opening the stage: the run is drawn before Streamlit's own script has come, and stays where it is when it has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.served import Server
from tests.browser.stage import BOARD, PATIENCE, Stage

STEADY = "/?preset=bigram&speed=100&max_steps=1000000"
PLACE = """() => {
  const { left, top, width, height } = document.querySelector(".ls-board").getBoundingClientRect();
  return [left, top, width, height].map(Math.round);
}"""

OTHER_KIND = """async () => {
  const board = [...loopscopeBoards.values()][0];
  const { prepareFor } = await import(new URL("client/load.js", board.base).href);
  const place = document.body.appendChild(document.createElement("div"));
  const data = [{ type: "bar", x: [1, 2], y: [2, 1] }];
  prepareFor([{ data: [{}, { type: "heatmap" }] }], board.Plotly);
  const before = Boolean(board.Plotly.registerRest);
  prepareFor([{ data }], board.Plotly);
  await board.Plotly.newPlot(place, data);
  return [before, Boolean(board.Plotly.registerRest), place.querySelectorAll(".bars .point").length];
}"""


def test_the_run_is_drawn_before_streamlit_has_come_and_stays_in_its_place(
    server: Server, new_tab: Callable[..., Stage]
) -> None:
    new_tab(server).fresh(STEADY).start().reaches(20)
    tab = new_tab(server)
    arrived: list[str] = []
    tab.page.route("**/static/js/index.*.js", lambda route: (arrived.append(route.request.url), held.append(route)))
    held: list = []
    tab.page.goto(tab.url)
    tab.retried(lambda: len(tab.points()[0]) > 10)
    tab.retried(lambda: bool(held))
    assert tab.page.locator(".stApp").count() == 0
    early = tab.page.evaluate(PLACE)
    tab.page.evaluate(f"{BOARD}.node.mark = 1")
    for route in held:
        route.continue_()
    expect(tab.button("play")).to_be_enabled(timeout=PATIENCE)
    expect(tab.page.locator(".ls-early")).to_have_count(0)
    expect(tab.page.locator("link[rel=stylesheet][href$='board.css']")).to_have_count(1)
    assert tab.page.evaluate(PLACE) == early
    assert tab.page.evaluate("document.querySelector('.stApp .ls-board').mark") == 1
    tab.retried(lambda: tab.page.locator(".js-plotly-plot .main-svg").count() >= 4)
    tab.retried(tab.has_whole_history)


@pytest.mark.thorough
def test_a_phone_gets_the_page_of_streamlit_at_once(server: Server, new_tab: Callable[..., Stage]) -> None:
    tab = new_tab(server, viewport={"width": 390, "height": 844})
    tab.open()
    assert tab.page.locator(".ls-early").count() == 0


def test_a_kind_of_trace_that_is_not_at_hand_is_registered_when_a_chart_wants_it(
    server: Server, new_tab: Callable[..., Stage]
) -> None:
    assert new_tab(server).open("/watch").page.evaluate(OTHER_KIND) == [True, False, 2]
