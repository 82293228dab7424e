"""A whole lesson by the keyboard alone: no mouse, and nothing that only a mouse can reach."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.served import Server
from tests.browser.stage import PATIENCE, Stage

MOST_TABS = 120
FOCUSED = "(css) => Boolean(document.activeElement?.closest(css))"


def tab_to(stage: Stage, css: str, key: str = "Tab") -> int:
    """Press Tab until the focus is on (or in) that; how often it took."""
    for count in range(1, MOST_TABS):
        stage.page.keyboard.press(key)
        if stage.page.evaluate(FOCUSED, css):
            return count
    raise AssertionError(f"{css} cannot be reached with {key}")


@pytest.mark.thorough
def test_the_keyboard_alone_starts_turns_steps_forks_scrubs_and_compares(
    server: Server, new_tab: Callable[..., Stage]
) -> None:
    stage = new_tab(server).fresh("/?preset=bigram&speed=100&observe_every=10&max_steps=900000")
    stage.page.evaluate("window.mice = 0; addEventListener('pointerdown', () => mice++, true)")
    keys = stage.page.keyboard

    tab_to(stage, ".st-key-play button")
    keys.press("Enter")
    stage.is_in("running")
    expect(stage.button("play")).to_have_text(re.compile("Pause"))

    lr = stage.setting("lr")
    keys.press("ArrowUp")
    stage.wait("board.data.stream.settings.lr > given", lr)
    tab_to(stage, '[class*="st-key-lr_number"] input')
    keys.press("Control+a")
    keys.type("0.01")
    keys.press("Enter")
    stage.has("lr", 0.01)
    stage.reaches(120)

    tab_to(stage, ".st-key-play button", "Shift+Tab")
    keys.press("Space")
    stage.is_in("paused")
    expect(stage.button("play")).to_have_text(re.compile("Resume"))
    before = stage.step
    keys.press("ArrowRight")
    stage.wait("board.data.stream.step === given && board.data.stream.state === 'paused'", before + 1)

    tab_to(stage, ".ls-moment")
    keys.press("Home")
    stage.wait("board.scrubber.past?.step === 0")
    for _ in range(6):
        keys.press("ArrowRight")
    stage.wait("board.scrubber.past?.step >= 20 && !board.scrubber.busy")
    past = stage.page.evaluate("[...loopscopeBoards.values()][0].scrubber.past.step")
    assert stage.step == past, "the headline follows"

    parent = stage.run
    tab_to(stage, '.ls-scrubber [aria-label^="Fork"]')
    keys.press("Enter")
    stage.page.wait_for_function(FOCUSED, arg=".st-key-fork_step", timeout=PATIENCE)
    expect(stage.number("fork_step")).to_have_value(str(past))
    keys.press("Escape")
    expect(stage.number("fork_step")).to_have_count(0)
    assert stage.page.evaluate(FOCUSED, '.ls-scrubber [aria-label^="Fork"]'), "back where it was asked for"
    keys.press("Enter")
    stage.page.wait_for_function(FOCUSED, arg=".st-key-fork_step", timeout=PATIENCE)
    tab_to(stage, ".st-key-fork_lr")
    keys.type("0.25")
    tab_to(stage, ".st-key-fork button")
    keys.press("Enter")
    stage.wait("board.data.run !== given[0] && board.data.stream.step === given[1]", [parent, past])
    stage.has("lr", 0.25)

    expect(stage.button("play")).to_have_text(re.compile("Resume"))
    expect(stage.number("fork_step")).to_have_count(0)  # the page has been drawn for the fork
    keys.press("Space")
    stage.is_in("running")
    stage.reaches(past + 30)

    tab_to(stage, '[data-testid="stTopNavLink"][href$="/compare"]', "Shift+Tab")
    keys.press("Enter")
    stage.page.wait_for_url(re.compile("/compare"), timeout=PATIENCE)
    table = stage.page.get_by_test_id("stDataFrame").first
    expect(table).to_be_visible(timeout=PATIENCE)
    tab_to(stage, '[data-testid="data-grid-canvas"]')
    curves = stage.page.get_by_test_id("stPlotlyChart").first
    for key, row in (("ArrowDown", "3"), ("ArrowUp", "2")):  # the titles are row 1, and the focus comes to row 2
        keys.press(key)
        stage.page.wait_for_function(FOCUSED, arg=f'[role="row"][aria-rowindex="{row}"]', timeout=PATIENCE)
        keys.press("Shift+Space")
        expect(stage.page.get_by_text("Select one run to open it")).to_have_count(0, timeout=PATIENCE)
    expect(curves.locator(".legendtext")).to_have_count(2, timeout=PATIENCE)
    assert stage.page.evaluate("mice") == 0
