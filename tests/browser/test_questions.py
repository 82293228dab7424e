"""What is asked, by a link or a button of the stage: it stands where one clicked, and moves nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.served import Server
from tests.browser.stage import PATIENCE, Stage
from tests.browser.test_pages import go

STEADY = "/?preset=bigram&speed=100&max_steps=1000000"
NEAR = 320  # pixels between what was clicked and the answer
# Where everything is that a person can press, by its place among them; what the answer itself brings is not counted.
PLACES = """() => [...document.querySelectorAll(
  "[data-testid=stMain] :is(button, input), .ls-panel, .ls-scrubber :is(button, input)")]
  .filter((node) => !node.closest('[class*="st-key-over_"], [data-testid="stPopoverBody"]'))
  .map((node) => node.getBoundingClientRect()).filter(({ width }) => width)
  .map(({ x, y, width, height }) => [x, y, width, height])"""


def far(a: Any, b: Any) -> float:
    """Pixels between the nearest edges of two boxes."""
    assert a and b
    dx = max(b["x"] - a["x"] - a["width"], a["x"] - b["x"] - b["width"], 0)
    dy = max(b["y"] - a["y"] - a["height"], a["y"] - b["y"] - b["height"], 0)
    return float((dx**2 + dy**2) ** 0.5)


def test_a_link_opened_over_a_run_asks_beside_it_and_starts_nothing(
    server: Server, new_tab: Callable[..., Stage]
) -> None:
    stage = new_tab(server).fresh(STEADY)
    stage.start().reaches(5)
    first = stage.run
    stage.open("/?preset=bigram&lr=10&speed=100")
    card = stage.keyed("set_up")
    expect(card).to_contain_text("bigram, lr 10 is set up. Start it?", timeout=PATIENCE)
    stage.press("Space")  # as the big button says
    stage.is_in("paused")
    expect(stage.button("play")).to_have_text(re.compile("Resume"))
    stage.press("Space")
    stage.is_in("running")
    assert stage.run == first
    expect(card).to_be_visible()
    stage.button("set_up_keep").click()
    expect(card).to_have_count(0)
    assert (stage.run, stage.setting("lr")) == (first, 0.001)
    stage.page.reload()
    stage.button("set_up_start").click(timeout=PATIENCE)
    stage.wait("board.data.run !== given && board.data.stream.state === 'running'", first)
    stage.has("lr", 10)
    expect(card).to_have_count(0)


@pytest.mark.thorough
def test_what_is_asked_appears_where_one_clicked_and_moves_nothing(
    server: Server, new_tab: Callable[..., Stage]
) -> None:
    stage = new_tab(server, viewport={"width": 1280, "height": 720}).fresh(STEADY)
    stage.start().reaches(30)
    page = stage.page
    verbs, board = stage.keyed("over_verbs"), stage.keyed("over_board")
    undisturbed: list[list[float]] = page.evaluate(PLACES)

    def moves_nothing(clicked: Locator, answer: Locator) -> None:
        at = clicked.bounding_box()
        clicked.click()
        expect(answer).to_be_visible()
        assert far(at, answer.bounding_box()) < NEAR
        places = page.evaluate(PLACES)
        assert len(places) == len(undisturbed)
        moved = [
            (before, after)
            for before, after in zip(undisturbed, places, strict=True)
            if max(abs(one - other) for one, other in zip(before, after, strict=True)) > 2
        ]
        assert not moved

    def cancel(answer: Locator) -> None:
        page.get_by_role("button", name="Cancel").click()
        expect(answer).to_have_count(0)

    for key in ("reset", "fork_now"):
        moves_nothing(stage.button(key), verbs)
        cancel(verbs)
    page.locator(".ls-moment").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    for word in ("fork", "note"):
        moves_nothing(page.locator(".ls-scrubber").get_by_role("button", name=re.compile(word, re.I)), board)
        cancel(board)
    page.locator(".ls-scrubber .ls-live").click()
    stage.click("New run")
    asked = stage.keyed("new_run_foot").get_by_text("Stop it and start the new run?")
    moves_nothing(stage.button("start_these"), asked)
    cancel(asked)
    page.keyboard.press("Escape")
    places = page.evaluate(PLACES)
    assert [box for box in undisturbed if box not in places] == []


@pytest.mark.thorough
def test_what_other_pages_ask_appears_where_one_clicked_and_moves_nothing(
    server: Server, new_tab: Callable[..., Stage]
) -> None:
    stage = new_tab(server, viewport={"width": 1280, "height": 720}).fresh(STEADY)
    for _ in range(2):  # Compare shall have one that is no longer kept open
        stage.start().reaches(10)
        stage.button("stop").click()
        stage.is_in("stopped")
        expect(stage.button("play")).to_have_text(re.compile("Start"))
    stage.start().reaches(30)
    page = stage.page

    go(stage, "Inside")
    tabs = stage.keyed("tabs_look")
    at = tabs.bounding_box()
    for view in ("Table", "Attention", "Generation", "Parameters", "Questions", "Shapes"):
        tabs.get_by_role("radio", name=view).or_(tabs.get_by_role("button", name=view)).first.click()
        expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=PATIENCE)
        assert tabs.bounding_box() == at, view

    def moves_nothing(clicked: Locator) -> None:
        expect(clicked).to_be_visible(timeout=PATIENCE)
        for waiting in ("stStatusWidget", "stSkeleton"):
            expect(page.get_by_test_id(waiting).locator("visible=true")).to_have_count(0, timeout=PATIENCE)
        before, at = page.evaluate(PLACES), clicked.bounding_box()
        clicked.click()
        answer = stage.keyed("over_button")
        expect(answer).to_be_visible(timeout=PATIENCE)
        assert far(at, answer.bounding_box()) < NEAR
        assert page.evaluate(PLACES) == before
        page.get_by_role("button", name="Cancel").click()
        expect(answer).to_have_count(0)

    go(stage, "Race")
    moves_nothing(stage.button("race_play"))
    if stage.button("race_ready").is_visible():
        moves_nothing(stage.button("race_ready"))
    go(stage, "Compare")
    table = page.get_by_test_id("data-grid-canvas").first
    expect(table).to_be_visible(timeout=PATIENCE)
    place = table.bounding_box()
    assert place
    page.mouse.click(place["x"] + 15, place["y"] + 3.5 * 35)  # the box of the third run
    moves_nothing(stage.button("continue"))
