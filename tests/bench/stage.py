"""What a presenter's browser does to a run at full speed: a scrubber that is dragged, ten tabs opened at once."""

from __future__ import annotations

import re
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.bench.figures import Figure, interleave, ratio, told
from tests.bench.room import CHROMIUM, FLAGS, SETTLE, Server, serving

MOMENTS, SECONDS = 200, 20.0
TABS = 10
PATIENCE = 120_000  # ms
CARDS = ".st-key-rail .ls-card"

# As a person drags: a place of the slider every tenth of a second, whether or not the moment before is on show yet.
DRAG = """async ([moments, seconds]) => {
  const [board] = window.loopscopeBoards.values();
  const { scrubber } = board, seen = new Set(), began = performance.now();
  for (let at = 1; at <= moments; at++) {
    scrubber.slider.value = Math.round((at / moments) * board.data.stream.step);
    scrubber.slider.dispatchEvent(new Event("input"));
    await new Promise((done) => setTimeout(done, began + (1000 * seconds * at) / moments - performance.now()));
    if (scrubber.past) seen.add(scrubber.past.step);
  }
  return seen.size;
}"""
# Back to the newest step: until the loss chart has drawn a frame that came after the click.
LIVE = """() => new Promise((tell) => {
  const [board] = window.loopscopeBoards.values(), began = performance.now(), { step } = board.data.stream;
  document.querySelector(".ls-live").click();
  const look = () => {
    const plot = document.querySelector('.ls-panel[data-panel="loss"] .js-plotly-plot');
    const last = plot.data.filter(({ meta }) => meta?.channel === "train/loss" && !meta.run).map(({ x }) => x.at(-1));
    if (board.scrubber.past === null && Math.max(...last) > step) tell(performance.now() - began);
    else requestAnimationFrame(look);
  };
  look();
})"""
# From the first moment of a tab to the first frame with a point in its loss chart.
FIRST_POINT = """(() => {
  const look = () => {
    const plot = document.querySelector('.ls-panel[data-panel="loss"] .js-plotly-plot');
    const drawn = plot?.querySelector(".main-svg") && plot.data?.some(({ x, meta }) => meta?.channel && x?.length);
    if (drawn) window.firstPoint = performance.now();
    else setTimeout(look, 20);
  };
  look();
})()"""


def travel(device: str, quick: bool) -> list[Figure]:
    """200 moments scrubbed through in 20 s on the stage, against the same stage left alone."""
    moments, seconds, rounds = (50, 5.0, 1) if quick else (MOMENTS, SECONDS, 3)
    with chromium() as browser, serving() as server:
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.locator(".ls-scrubber").wait_for(timeout=PATIENCE)
        page.wait_for_timeout(5000 * SETTLE)
        seen, back = list[int](), list[float]()

        def scrubbed() -> None:
            seen.append(page.evaluate(DRAG, [moments, seconds]))

        def scrubbing() -> float:
            rate = during(server, scrubbed)
            back.append(page.evaluate(LIVE))
            return rate

        def watching() -> float:
            return during(server, lambda: page.wait_for_timeout(1000 * seconds))

        rates = interleave({"watching": watching, "scrubbing": scrubbing}, rounds)
    value, note = ratio(rates, "scrubbing", "watching"), told(rates, "scrubbing", "watching")
    note += f"; {statistics.median(seen):.0f} different moments shown"
    return [
        Figure("travel", f"{moments} moments in {seconds:.0f} s / the stage left alone", value, target=0.90, note=note),
        Figure("travel", "from the click on live to the newest step", max(back), "ms", 500, at_most=True),
    ]


def step(device: str, quick: bool) -> list[Figure]:
    """Step opened while a run trains at full speed: when its nine stages are there, and what following it costs."""
    seconds, rounds = (10.0, 1) if quick else (30.0, 3)
    with chromium() as browser, serving() as server:
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.locator(".ls-scrubber").wait_for(timeout=PATIENCE)
        page.wait_for_timeout(5000 * SETTLE)
        waits = list[float]()

        def opened() -> None:
            link(page, "Step")
            page.locator(CARDS).nth(8).wait_for(timeout=PATIENCE)

        def alone() -> float:
            link(page, "Train")
            page.locator(".ls-scrubber").wait_for(timeout=PATIENCE)
            page.wait_for_timeout(1000 * SETTLE)
            return during(server, lambda: page.wait_for_timeout(1000 * seconds))

        def followed() -> None:
            began = time.perf_counter()
            opened()
            waits.append(time.perf_counter() - began)
            page.get_by_role("button", name=re.compile("Follow the run")).click()
            page.wait_for_timeout(1000 * seconds)
            page.get_by_role("button", name=re.compile("Stop following")).click()

        rates = interleave({"alone": alone, "followed": lambda: during(server, followed)}, rounds)
    value, note = ratio(rates, "followed", "alone"), told(rates, "followed", "alone")
    return [
        Figure("step", "Step opened and followed / the stage left alone", value, target=0.95, note=note),
        Figure("step", "from the click to nine stages", statistics.median(waits), "s", 2, at_most=True),
    ]


def link(page: Page, name: str) -> None:
    """Go to another page by the navigation."""
    page.get_by_test_id("stTopNavLink").filter(has_text=re.compile(f"^{name}$")).first.click()


def tabs(device: str, quick: bool) -> list[Figure]:
    """Ten presenter tabs opened at once: when each of them shows its first point."""
    count = 3 if quick else TABS
    with chromium() as browser, serving() as server:
        context = browser.new_context(viewport={"width": 1600, "height": 900})
        context.add_init_script(FIRST_POINT)
        pages = [context.new_page() for _ in range(count)]
        for page in pages:
            page.goto(f"http://127.0.0.1:{server.port}/", wait_until="commit")
        for page in pages:
            page.wait_for_function("() => window.firstPoint", timeout=PATIENCE)
        waits = sorted(page.evaluate("window.firstPoint") / 1000 for page in pages)
    note = f"median {statistics.median(waits):.1f} s, first {waits[0]:.1f} s"
    name = f"the last of {count} tabs shows its first point"
    return [Figure("tabs", name, waits[-1], "s", 5, at_most=True, note=note)]


def during(server: Server, what: Callable[[], None]) -> float:
    """Steps a second while `what` goes on."""
    before = server.do("step")
    what()
    after = server.do("step")
    return float((after["step"] - before["step"]) / (after["at"] - before["at"]))


@contextmanager
def chromium() -> Iterator[Browser]:
    """This machine's Chromium; RuntimeError without one."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        raise RuntimeError("no Chromium found")
    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()
