"""The beginner's stage: few panels, the narrator's line, and the switch to the engine room, which is remembered."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.served import Server
from tests.browser.stage import BOARD, PATIENCE, Stage

FEW = {"loss", "table", "samples"}
SHOWN = """(wanted) => {
  const shown = [...document.querySelectorAll(".ls-panel")].map(({ dataset }) => dataset.panel);
  return shown.length === wanted.length && wanted.every((panel) => shown.includes(panel));
}"""


def shows(tab: Stage, panels: set[str]) -> None:
    """Exactly these panels come to stand on the stage."""
    tab.page.wait_for_function(SHOWN, arg=sorted(panels), timeout=PATIENCE)


def test_a_first_visit_is_a_beginners_and_the_engine_room_is_remembered(
    serve: Callable[..., Server], new_tab: Callable[..., Stage]
) -> None:
    server = serve()  # one of its own: on it there was no run before
    tab = new_tab(server)
    tab.fresh("/?preset=bigram&lr=0.01&speed=100&max_steps=1000000")
    tab.choose(None)
    tab.open("/?preset=bigram&lr=0.01&speed=100&max_steps=1000000")
    shows(tab, FEW)
    told = tab.page.locator(".ls-told")
    expect(told).to_have_text(re.compile("Press Start"))
    tab.press("ArrowRight")
    expect(told).to_have_text(re.compile("^Untrained it is worse than guessing"), timeout=PATIENCE)
    tab.start()
    expect(told).to_have_text(re.compile("^It has learnt how frequent letters are"), timeout=PATIENCE)
    tab.press("ArrowUp")
    expect(told).to_have_text(re.compile("^Learning rate raised from 0.01 to 0.02 at step"), timeout=PATIENCE)
    tab.page.evaluate(f"{BOARD}.scrubber.go(0)")
    expect(told).to_have_text(re.compile("^Untrained"), timeout=PATIENCE)
    tab.page.locator(".ls-live").click()
    expect(told).not_to_have_text(re.compile("^Untrained"), timeout=PATIENCE)
    before = tab.keyed("engine_room_switch").bounding_box()
    tab.keyed("engine_room_switch").locator("label").first.click()
    shows(tab, FEW | {"grad_norm", "update_ratio"})
    expect(tab.button("fork_now")).to_be_visible()
    assert tab.keyed("engine_room_switch").bounding_box() == before, "it moves nothing above it"
    tab.page.goto(tab.url)
    shows(tab, FEW | {"grad_norm", "update_ratio"})
    expect(tab.button("stop")).to_be_enabled(timeout=PATIENCE)
    tab.button("stop").click()
    tab.is_in("stopped")
    tab.page.close()  # else it would remember its choice once more
    watching = new_tab(server)
    watching.choose(None)
    watching.page.goto(watching.url + "/watch")
    shows(watching, FEW)
    expect(watching.page.locator(".ls-told")).to_have_text(re.compile(r"\w"), timeout=PATIENCE)
    watching.choose("engine-room")
