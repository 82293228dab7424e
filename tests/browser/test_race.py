"""A race in a real browser: one press, all lanes live in one chart, and at the end the picture that explains it."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.served import Server
from tests.browser.stage import PATIENCE, Stage

BOARD = "[...(window.loopscopeBoards ?? [])].find(([key]) => key.includes(' race '))?.[1]"
CURVES = """() => [...document.querySelectorAll('.ls-panel[data-panel="loss"] .js-plotly-plot')]
  .flatMap((plot) => plot.data).filter(({ meta }) => meta?.smooth).map(({ x }) => x.length)"""

INSIDE = """() => document.querySelector('.ls-top select')
  && [...document.querySelectorAll('.ls-panel')].every((panel) => {
  const edge = panel.getBoundingClientRect().right;
  const tools = [...panel.querySelectorAll('.ls-top :is(button, select)')].map((tool) => tool.getBoundingClientRect());
  return tools.every(({ right, width }) => !width || right <= Math.min(edge, innerWidth));
})"""


def test_the_ready_made_race_runs_to_its_picture(server: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(server).fresh()
    page = stage.page
    page.get_by_test_id("stTopNavLink").filter(has_text=re.compile("^Race$")).first.click()
    steps = page.get_by_role("spinbutton", name="iterations (steps)")
    steps.fill("300")
    steps.press("Enter")
    page.get_by_role("button", name=re.compile("Race the learning rates")).click()
    page.wait_for_function(f"() => {BOARD}?.data.stream?.step > 20", timeout=PATIENCE)
    page.get_by_role("button", name="Show B − A").click(timeout=2 * PATIENCE)
    page.get_by_role("combobox", name="Lane B").select_option("3")
    page.wait_for_function(f"() => {BOARD}.data.stream.state === 'done'", timeout=2 * PATIENCE)
    expect(page.get_by_text("What the learning rate does")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text(re.compile("The losses part at step 2"))).to_be_visible()
    page.wait_for_function(
        f"() => ({CURVES})().length === 4 && ({CURVES})().every((points) => points > 50)", timeout=PATIENCE
    )
    expect(page.locator(".ls-lane-column .ls-sample").first).to_be_visible()
    expect(page.locator(".ls-lane-name")).to_have_text(["lr 0.0003", "lr 0.01", "lr 1", "lr 10"])
    marks = page.evaluate(f"{BOARD}.data.events.filter(({{ name }}) => name === 'parted').map(({{ step }}) => step)")
    assert marks == [2]
    page.reload()  # the whole race again
    page.wait_for_function(
        f"() => ({CURVES})().length === 4 && ({CURVES})().every((points) => points > 50)", timeout=PATIENCE
    )
    held = page.evaluate(f"[1, 2, 3, 4].map((lane) => {BOARD}.data.series.get(`train/loss/${{lane}}`).steps.length)")
    assert held == [300] * 4
    for width in (1100, 1280, 1366, 1600):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function(INSIDE, timeout=PATIENCE)
