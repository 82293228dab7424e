"""Presenter mode on every page: large type, everything in reach, any panel over the whole screen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.served import Server
from tests.browser.stage import PATIENCE, Stage
from tests.browser.test_pages import PAGES, go

LEAST_TYPE = 18  # px
LEAST_SCRUBBER = 640  # px, at 1280×720

# Each piece of text that can be seen and is smaller than so many pixels.
SMALL_TEXT = """(least) => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const around = node.parentElement;
    if (!node.data.trim() || around.closest('script, style, [data-testid="stIconMaterial"]')) continue;
    if (!around.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const { width, height } = range.getBoundingClientRect();
    const size = parseFloat(getComputedStyle(around).fontSize);
    if (width > 1 && height > 1 && size < least) found.push(`${size} px: ${node.data.trim().slice(0, 40)}`);
  }
  return found;
}"""


def within(stage: Stage, selector: str) -> dict[str, float]:
    """Where a thing stands, which must be on the screen as a whole."""
    place = stage.page.locator(selector).locator("visible=true").first.bounding_box()
    size = stage.page.viewport_size
    assert place and size, f"{selector} is not there"
    assert place["x"] >= 0 and place["x"] + place["width"] <= size["width"], selector
    assert place["y"] >= 0 and place["y"] + place["height"] <= size["height"], selector
    return {**place}


@pytest.mark.parametrize("width, height, theme", [(1280, 720, "dark"), (1600, 900, "light")])
@pytest.mark.thorough
def test_presenter_mode_on_each_page(
    server: Server, new_tab: Callable[..., Stage], tmp_path: Path, width: int, height: int, theme: str
) -> None:
    """Nothing below 18 px; pages, play, rate, speed and a wide scrubber in reach; it stays on from page to page.

    It leaves a picture of each page, in the theme of this size and in the other one.
    """
    size = {"width": width, "height": height}
    stage = (
        new_tab(server, viewport=size, color_scheme=theme).fresh("/?preset=bigram&speed=100&max_steps=1000000").start()
    )
    stage.reaches(50)
    stage.press("p")
    for page in ("Train", *PAGES):
        if page != "Train":
            go(stage, page)
        expect(stage.page.locator(".ls-moment").locator("visible=true").first).to_be_visible(timeout=PATIENCE)
        expect(stage.page.get_by_test_id("stSkeleton").locator("visible=true")).to_have_count(0, timeout=PATIENCE)
        for link in stage.page.get_by_test_id("stTopNavLink").all():
            assert link.bounding_box()
        bar = within(stage, ".st-key-bar")
        last = stage.page.get_by_test_id("stTopNavLink").last.bounding_box()
        assert last and last["x"] + last["width"] <= bar["x"], f"the pages run under the controls on {page}"
        within(stage, ".st-key-bar button:has-text('Start'), .st-key-bar button:has-text('Pause')")
        within(stage, ".st-key-bar [class*='speed_list']")
        if page != "Race":  # where each lane has a rate of its own
            within(stage, ".st-key-bar [class*='lr_number']")
        assert within(stage, ".ls-moment")["width"] >= max(LEAST_SCRUBBER, width / 2), page
        stage.retried(lambda: not stage.page.evaluate(SMALL_TEXT, LEAST_TYPE))
        for ground in ({"dark": "light", "light": "dark"}[theme], theme):
            stage.page.emulate_media(color_scheme=ground)
            stage.wait(
                "[...document.querySelectorAll('.ls-board')].every(({ dataset }) => dataset.theme === given)", ground
            )
            stage.page.screenshot(path=tmp_path / f"{page}-{width}x{height}-{ground}.png")
    stage.press("p")
    expect(stage.page.locator(".st-key-bar")).to_have_count(0)


def test_f_fills_the_screen_with_a_panel_and_escape_brings_it_back(
    server: Server, new_tab: Callable[..., Stage]
) -> None:
    stage = new_tab(server, viewport={"width": 1280, "height": 720}).fresh("/?preset=bigram&speed=100").start()
    stage.reaches(20)
    stage.press("p")
    expect(stage.page.locator(".st-key-bar")).to_be_visible()
    before = stage.loss.bounding_box()
    full = {"x": 0, "y": 0, "width": 1280, "height": 720}
    for key in ("Escape", "f"):
        stage.loss.locator(".ls-body").hover()
        stage.page.keyboard.press("f")
        stage.retried(lambda: stage.loss.bounding_box() == full)
        stage.wait("board.panels.get('loss').chart.plot._fullLayout.width > 1100")
        stage.page.keyboard.press(key)
        stage.retried(lambda: stage.loss.bounding_box() == before)
    fills = stage.page.get_by_role("button", name=re.compile("^Fill the screen.*: Samples"))
    fills.click()
    stage.retried(lambda: stage.page.locator('[data-panel="samples"]').first.bounding_box() == full)
    stage.page.keyboard.press("Escape")
    stage.press("p")
    go(stage, "Race")  # a chart of the page itself
    chart = stage.page.get_by_test_id("stPlotlyChart").first
    chart.hover()
    stage.page.keyboard.press("f")
    stage.retried(lambda: (chart.bounding_box() or full)["width"] > 1200 and (chart.bounding_box() or {})["y"] < 80)
    stage.page.keyboard.press("Escape")
    stage.retried(lambda: (chart.bounding_box() or full)["width"] < 1100)
