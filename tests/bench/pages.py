"""How soon a page is there after the click on its link, and the front page after its address was entered."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Page

from tests.bench.figures import Figure
from tests.bench.room import SETTLE, serving
from tests.bench.stage import FIRST_POINT, PATIENCE, chromium, link

PAGES = ("Train", "Step", "Inside", "Embeddings", "First steps", "Compare", "Race", "Data", "Glossary")
VISITS, LOADS = 20, 5
TEXT, CHARTS, FIRST_CURVE = 1.0, 2.5, 2.0  # s, for the median; none may take twice that

# From the click: until text of the page can be read, and until its script has ended and all charts in view are drawn.
VISIT = """(name) => new Promise((tell) => {
  const LIVE = new Set(["Train", "Embeddings", "First steps"]); // with charts on their boards
  const found = { text: 0 };
  const open = (node) => node.checkVisibility() && node.getBoundingClientRect().top < innerHeight;
  const drawn = (plot) => !open(plot) || plot.querySelector(".main-svg");
  const whole = ({ node, panels }) => !node.isConnected || (!panels.waiting.length &&
    [...panels.all.values()].every(({ chart }) => !chart.plot || drawn(chart.plot)));
  const look = () => {
    const main = document.querySelector(".stMain"), now = performance.now() - found.began;
    if (main.querySelector("h1")?.textContent === name) {
      const texts = [...main.querySelectorAll("p, label, h2, h3, h5")];
      if (texts.some((node) => open(node) && node.innerText.trim())) found.text ||= now;
      const ended = document.querySelector(".stApp").dataset.testScriptState === "notRunning";
      const live = !LIVE.has(name) || main.querySelector(".ls-panel .main-svg");
      const still = [...main.querySelectorAll(".stPlotlyChart")].every(drawn);
      if (found.text && ended && live && still && [...window.loopscopeBoards.values()].every(whole))
        return tell([found.text / 1000, now / 1000]);
    }
    if (now > 60_000) return tell([found.text ? found.text / 1000 : Infinity, Infinity]);
    requestAnimationFrame(look);
  };
  const links = [...document.querySelectorAll('[data-testid="stTopNavLink"]')];
  found.began = performance.now();
  links.find((one) => one.textContent.trim() === name).click();
  look();
})"""


def pages(device: str, quick: bool) -> list[Figure]:
    """Each page twenty times, in a browser, with a run at full speed and with one that is held."""
    figures: list[Figure] = []
    with chromium() as browser, serving() as server:
        context = browser.new_context(viewport={"width": 1600, "height": 900})
        context.add_init_script(FIRST_POINT)
        loads = [first_curve(context.new_page(), server.port) for _ in range(2 if quick else LOADS)]
        figures += bounded("the front page, to its first curve", loads, FIRST_CURVE)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.locator(".ls-scrubber").wait_for(timeout=PATIENCE)
        page.get_by_test_id("stTopNavLink").first.wait_for(timeout=PATIENCE)
        page.wait_for_timeout(5000 * SETTLE)
        for pace in ("at full speed", "idle"):
            if pace == "idle":
                link(page, "Train")
                page.keyboard.press("Space")
                page.locator('.ls-header[data-state="paused"]').wait_for(timeout=PATIENCE)
            waits = {name: list[list[float]]() for name in PAGES}
            for name in order(3 if quick else VISITS):
                waits[name].append(page.evaluate(VISIT, name))
                page.wait_for_timeout(300 * SETTLE)
            for name, found in waits.items():
                for what, at, most in (("text", 0, TEXT), ("charts", 1, CHARTS)):
                    figures += bounded(f"{name}, {pace}, to its {what}", [one[at] for one in found], most)
    return figures


def first_curve(page: Page, port: int) -> float:
    """Seconds from the address to the first point of the loss."""
    page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
    found: Any = page.wait_for_function("() => window.firstPoint", timeout=PATIENCE).json_value()
    page.close()
    return float(found) / 1000


def order(visits: int) -> Iterator[str]:
    """Each page `visits` times, never one after itself; the same in each measurement."""
    shuffled, last = random.Random(1), "Train"
    for _ in range(visits):
        turn = list(PAGES)
        while turn[0] == last:
            shuffled.shuffle(turn)
        yield from turn
        last = turn[-1]


def bounded(name: str, seconds: list[float], most: float) -> list[Figure]:
    """The median, which may be `most`; and the worst, which may be twice that."""
    median, worst = statistics.median(seconds), max(seconds)
    note = f"first {seconds[0]:.2f}, worst {worst:.2f} of {2 * most:g} s"
    return [Figure("pages", name, max(median, worst / 2), "s", most, at_most=True, note=f"median {median:.2f}, {note}")]
