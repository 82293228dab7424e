"""A run on the stage: from a click to a moving chart, in more than one tab."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import Watched
from tests.browser.served import Server
from tests.browser.stage import BOARD, HOLE, Stage

STEADY = "/?preset=bigram&speed=100&max_steps=1000000"
FIRST_POINT_MS = 30_000  # what is promised is 1 s, on a machine with nothing else to do

# From the click on Start to the first frame with a point of the new run in the loss chart, measured in the page.
STOPWATCH = """() => {
  window.firstPoint = new Promise((tell) => document.addEventListener("click", () => {
    const begin = performance.now();
    const board = [...window.loopscopeBoards.values()][0];
    const before = board.data.run;
    const look = () => {
      const plot = document.querySelector('.ls-panel[data-panel="loss"] .js-plotly-plot');
      const drawn = plot?.data.find(({ meta }) => meta?.channel === "train/loss" && !meta.run)?.x ?? [];
      const own = board.data.run !== before && board.panels.shownFor === board.data.run;
      if (own && drawn.length && drawn.at(-1) <= board.data.header.step) tell(performance.now() - begin);
      else requestAnimationFrame(look);
    };
    look();
  }, { capture: true, once: true }));
}"""


REMOUNT = """async () => {
  const { mount } = await import("/board.js");
  const place = document.getElementById("board");
  mount(place, { page: "train" })();
  await new Promise((done) => setTimeout(done, 1000));
  const other = document.body.appendChild(document.createElement("main"));
  mount(other, { page: "train" });
  if (place.childElementCount || !other.childElementCount) throw new Error("the board did not move");
}"""


def series(server: Server, channel: str = "train/loss", run: str = "current") -> list[int]:
    """The steps that the server has of a channel, without a browser."""
    return json.loads(server.get(f"/series?run={run}&channel={channel}")[1])["steps"]


def test_charts_that_are_told_late_do_not_replace_newer_ones(server: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(server).fresh(STEADY)
    dressed = "board.panels.shownFor === (board.data.run ?? 'example')"  # a test before this one may have left a run
    stage.wait(f"{dressed} && !board.panels.waiting.length")
    held: list[Route] = []
    # Playwright marks the function that it is given: a list's own append cannot be marked.
    stage.page.route("**/panels?*", lambda route: held.append(route))
    for asked in (1, 2):
        stage.page.evaluate(f"{BOARD}.panels.reload()")
        while len(held) < asked:
            stage.page.wait_for_timeout(10)
    late, newer = held
    told = newer.fetch()
    panels = told.json()["panels"]
    newer.fulfill(response=told)
    stage.wait(f"{dressed} && board.panels.all.size === given", len(panels))
    late.fulfill(json={**told.json(), "panels": panels[:1]})
    stage.page.wait_for_timeout(300)
    assert stage.page.evaluate(f"{BOARD}.panels.all.size") == len(panels) > 1
    stage.page.unroute("**/panels?*")


def test_first_point_comes_soon_after_start(
    server: Server, new_tab: Callable[..., Stage], record_property: Callable[..., None]
) -> None:
    stage = new_tab(server).fresh(STEADY)
    stage.page.evaluate(STOPWATCH)
    stage.button("play").click()
    milliseconds = stage.page.evaluate("window.firstPoint")
    print(f"first point {milliseconds:.0f} ms after Start")
    record_property("first_point_ms", milliseconds)
    assert milliseconds <= FIRST_POINT_MS
    steps, values = stage.points()
    assert steps[0] == 1
    assert 1 < values[0] < 10
    expect(stage.button("play")).to_have_text(re.compile("Pause"))
    expect(stage.page.get_by_text("Example: a recorded run")).to_be_hidden()


def test_zoom_and_chart_stay_through_frames_and_a_slider_move(server: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(server).fresh(STEADY)
    stage.start().reaches(100)
    zoomed = stage.zoom()
    plots = stage.page.locator(".js-plotly-plot")
    plots.evaluate_all("nodes => nodes.forEach((node, number) => { node.mark = number + 1; })")
    before = stage.step
    stage.reaches(before + 300)
    slider = stage.keyed("lr_slider").get_by_role("slider")
    slider.focus()
    slider.press("ArrowRight")
    stage.has("lr", 0.002)
    stage.reaches(before + 500)
    assert stage.range() == zoomed
    marks = plots.evaluate_all("nodes => nodes.map((node) => node.mark)")
    assert marks == list(range(1, len(marks) + 1)), "the very same nodes, none added, none replaced"
    stage.wait("board.data.events.some(({ text }) => text === 'lr 0.001 → 0.002')")
    stage.click("Show the whole run")
    stage.wait("document.querySelector('[data-panel=loss] .js-plotly-plot')._fullLayout.xaxis.range[0] === 0")
    reached = "document.querySelector('[data-panel=loss] .js-plotly-plot')._fullLayout.xaxis.range[1] >= given"
    stage.wait(reached, before + 500)  # the chart is drawn when it can


@pytest.mark.thorough
def test_zoom_and_chart_stay_when_the_board_goes_and_comes_back(
    server: Server, new_tab: Callable[..., Stage], watched: Watched
) -> None:
    new_tab(server).fresh(STEADY).start()
    stage = new_tab(server).open("/watch")
    stage.reaches(100)
    zoomed = stage.zoom()
    stage.loss.locator(".js-plotly-plot").evaluate("node => { node.mark = 1; }")
    # What a page switch does: the element leaves the page, and a new place asks for the same board.
    stage.page.evaluate(REMOUNT)
    before = stage.step
    stage.reaches(before + 100)
    assert stage.range() == zoomed
    assert stage.loss.locator(".js-plotly-plot").evaluate("node => node.mark") == 1
    stage.retried(stage.has_whole_history)  # what came while it was away is there too
    assert sum(urlsplit(url).path == "/live" for url in watched.requests) == 2, "one socket for each tab"


@pytest.mark.thorough
def test_zooming_into_a_long_run_brings_its_detail(
    server: Server, new_tab: Callable[..., Stage], watched: Watched
) -> None:
    stage = new_tab(server).fresh("/?preset=bigram&speed=unlimited&max_steps=6000")
    stage.button("play").click()
    stage.is_in("done", 60_000)
    later = new_tab(server).open()  # it has the snapshot's skeleton alone
    later.wait("board.data.stream.step > 0")
    later.zoom()
    low, high = later.range()
    expected = list(range(int(low) + 1, int(high) + 1))
    assert 300 < len(expected) < 2000
    later.retried(lambda: [step for step in later.points()[0] if low < step <= high] == expected)
    asked = [parse_qs(urlsplit(url).query) for url in watched.requests if urlsplit(url).path == "/series"]
    ours = [query for query in asked if query["channel"] == ["train/loss"] and query["run"] == [later.run]]
    assert any(float(query["from"][0]) <= low and float(query["to"][0]) >= high for query in ours)


def test_a_second_tab_and_a_reload_show_the_same_run_with_its_history(
    server: Server, new_tab: Callable[..., Stage]
) -> None:
    first = new_tab(server).fresh(STEADY)
    first.start().reaches(150)
    second = new_tab(server).open()
    assert second.run == first.run
    expect(second.button("play")).to_have_text(re.compile("Pause"))
    second.retried(second.has_whole_history)
    for channel in (("loss", "train/loss"), ("grad_norm", "grad_norm")):  # thinned once the run is long
        second.retried(lambda channel=channel: 0 < min(second.points(*channel)[0], default=0) <= HOLE)
    first.press("Space")
    second.is_in("paused")
    first.is_in("paused")
    first.wait(
        "board.data.header.step === given", second.page.evaluate("[...loopscopeBoards.values()][0].data.header.step")
    )
    first.page.reload()
    first.is_in("paused")
    for tab in (first, second):
        tab.retried(tab.has_whole_history)
        tab.retried(lambda tab=tab: tab.points()[0][-1:] == tab.history()[-1:] == [tab.step])
    assert first.run == second.run
    expect(first.button("play")).to_have_text(re.compile("Resume"))


@pytest.mark.thorough
def test_closing_every_tab_does_not_stop_the_run(server: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(server).fresh(STEADY)
    stage.start().reaches(20)
    run = stage.run
    audience = new_tab(server).open("/watch")
    stage.page.close()
    audience.page.close()
    last = series(server)[-1]
    again = new_tab(server).open()
    again.reaches(last + 100)
    assert again.run == run
    again.retried(again.has_whole_history)
    assert again.points()[0][0] <= 2
    again.is_in("running")


def test_a_change_in_one_tab_is_on_show_in_the_other(server: Server, new_tab: Callable[..., Stage]) -> None:
    mine = new_tab(server).fresh(STEADY)
    mine.start()
    yours = new_tab(server).open()
    expect(yours.button("play")).to_have_text(re.compile("Pause"))
    number = mine.number("lr_number")
    number.fill("0.03")
    number.press("Enter")
    mine.has("lr", 0.03)
    begin = yours.page.evaluate("performance.now()")
    expect(yours.number("lr_number")).to_have_value(re.compile(r"0\.03"))
    print(f"the other tab showed it {yours.page.evaluate('performance.now()') - begin:.0f} ms later")
    mine.press("Space")
    expect(yours.button("play")).to_have_text(re.compile("Resume"))


@pytest.mark.thorough
def test_ten_fast_clicks_on_start_make_one_run(server: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(server).fresh(STEADY)
    before = stage.run
    # As fast as a script can: the button of the page that is on show now, whatever it says by then.
    stage.button("play").evaluate("node => { for (let i = 0; i < 10; i++) node.click(); }")
    stage.wait("board.data.run !== given && board.data.stream.step > 0", before)
    run = stage.run
    previous = json.loads(server.get("/panels?page=train&run=current")[1])["previous"]
    assert previous in (before, None)
    stage.fresh()
    assert stage.run == run


@pytest.mark.thorough
def test_a_new_start_over_a_run_asks(server: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(server).fresh(STEADY)
    stage.start().reaches(5)
    first = stage.run
    stage.click("New run")
    expect(stage.page.get_by_role("button", name="Start a new run with these")).to_be_in_viewport(ratio=1)
    stage.click("Start a new run with these")
    expect(stage.page.get_by_text("Stop it and start the new run?")).to_be_visible()
    stage.click("Cancel")
    expect(stage.page.get_by_text("Stop it and start the new run?")).to_be_hidden()
    before = stage.step
    stage.reaches(before + 20)
    assert stage.run == first
    stage.click("Start a new run with these")
    stage.click("Stop it")
    stage.wait("board.data.run !== given && board.data.stream.state === 'running'", first)


def test_why_a_number_is_refused_is_in_sight(server: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(server).fresh(STEADY)
    for key, number, told in (("lr_number", "1e38", "between 0 and"), ("max_steps_number", "9" * 11, "between 1 and")):
        stage.number(key).fill(number)
        stage.number(key).press("Enter")
        reason = stage.keyed(key).get_by_role("alert")
        expect(reason).to_contain_text(told)
        box = reason.bounding_box()
        assert box and box["width"] > 100 and box["height"] > 15


@pytest.mark.parametrize("scheme", ["dark", pytest.param("light", marks=pytest.mark.thorough)])
def test_the_board_follows_the_theme(server: Server, new_tab: Callable[..., Stage], scheme: str) -> None:
    stage = new_tab(server, color_scheme=scheme).open("/watch")
    assert stage.page.locator(".ls-board").get_attribute("data-theme") == scheme
