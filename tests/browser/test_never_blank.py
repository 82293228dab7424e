"""Whatever replaces the run on the stage, no frame is blank: the old board stays until the new one has what to show."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.served import Server
from tests.browser.stage import Stage

LINK = "/?preset={}&speed=100&max_steps=900000"

# Looks at each frame right after it was painted, and notes what is missing on it.
PROBE = """() => {
  const frames = (window.frames_ = { seen: 0, blank: [] });
  const painted = new MessageChannel();
  const filled = (panel) => {
    const { width, height } = panel.getBoundingClientRect();
    if (width < 50 || height < 50) return false;
    if (!panel.querySelector(".js-plotly-plot")) return panel.querySelector(".ls-samples")?.textContent !== "";
    const marks = panel.querySelectorAll(".scatterlayer path.js-line, .scatterlayer .point, .heatmaplayer image");
    return [...marks].some((mark) => mark.getAttribute("d")?.length > 3 || mark.href);
  };
  const missing = () => {
    const board = document.querySelector(".ls-board");
    if (!board) return ["no board"];
    if (!board.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return ["board out of sight"];
    const found = [];
    if (!/^[\\d,]+/.test(board.querySelector(".ls-steps").textContent)) found.push("headline");
    let seen = 1; // how much of the stage, through all that fades it
    let node = board.querySelector(".ls-stage");
    for (; node; node = node.parentElement) seen *= getComputedStyle(node).opacity;
    if (seen < 0.4) found.push("faint");
    const panels = [...board.querySelectorAll(".ls-panel")];
    if (panels.length < 2) found.push("panels");
    for (const key of ["loss", "table"]) {
      const panel = panels.find(({ dataset }) => dataset.panel === key);
      if (panel && !filled(panel)) found.push(key);
    }
    return found;
  };
  painted.port1.onmessage = () => {
    frames.seen++;
    const found = missing();
    if (found.length) frames.blank.push([Math.round(performance.now()), ...found]);
  };
  const look = () => {
    painted.port2.postMessage(0);
    requestAnimationFrame(look);
  };
  look();
}"""
FRAMES = "frames_"


@pytest.mark.thorough
def test_no_frame_is_blank_while_the_run_on_the_stage_is_replaced(
    server: Server, new_tab: Callable[..., Stage]
) -> None:
    stage = new_tab(server).fresh(LINK.format("bigram"))
    audience = new_tab(server).open("/watch")
    tabs = {"stage": stage, "audience": audience}
    for tab in tabs.values():
        tab.page.evaluate(PROBE)

    def replaced(by: str) -> None:
        """The new run is on show in both tabs, and no frame on the way there was blank."""
        for name, tab in tabs.items():
            tab.wait("board.panels.shownFor === board.data.run && board.data.run !== given", shown[name])
            tab.wait("!board.node.classList.contains('ls-starting')")
            frames = tab.page.evaluate(FRAMES)
            print(f"{by}, {name}: {frames['seen']} frames, {len(frames['blank'])} blank {frames['blank'][:5]}")
            blank[by, name] = frames["blank"]
            tab.page.evaluate(f"{FRAMES}.blank = []")
            shown[name] = str(tab.run)

    shown = {name: str(tab.run) for name, tab in tabs.items()}
    blank: dict[tuple[str, str], list] = {}
    stage.start().reaches(30)
    replaced("Start over the example or a run that is over")
    stage.press("Backspace")
    stage.click("Stop it")
    replaced("Reset over a running run")
    stage.start().reaches(30)
    stage.press("Space")
    stage.is_in("paused")
    stage.button("fork_now").click()
    stage.number("fork_lr").fill("0.1")
    stage.click("Fork there")
    replaced("Fork")
    stage.button("undo").click()
    replaced("Undo")
    stage.press("Space")
    stage.is_in("running")
    for preset in ("gpt-tiny", "document-002-line", "bigram"):
        stage.open(LINK.format(preset))
        stage.page.evaluate(PROBE)
        stage.click("Start it")
        replaced(f"A link to {preset}, started")
        stage.reaches(20)
    assert not any(blank.values()), blank
