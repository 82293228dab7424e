"""The stage in a real browser, as a person uses it: what stands on it, and what they press.

Reads the page alone. Where the page shows no number to wait for, it asks the board (`window.loopscopeBoards`), which
holds what the stream said last.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from playwright.sync_api import Locator, Page, expect

HOLE = 50  # steps: half a second of a steady bigram
PATIENCE = 30_000  # ms: a busy machine is no failure
BOARD = "[...(window.loopscopeBoards?.values() ?? [])][0]"
NUMBER = re.compile(r"[\d,]+")

# A person reads a curve off the chart: here, the drawn points of the trace that a channel feeds (or its average).
POINTS = """([panel, channel, smooth]) => {
  const plot = document.querySelector(`.ls-panel[data-panel="${panel}"] .js-plotly-plot`);
  const fed = ({ meta }) => meta?.channel === channel && Boolean(meta.smooth) === smooth && !meta.run;
  const trace = plot?.data.find(fed);
  return trace ? [Array.from(trace.x), Array.from(trace.y)] : [[], []];
}"""


class Stage:
    """One tab on the Train page, or on /watch: in the engine room, unless it is to be a beginner's."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.choose("engine-room")

    def choose(self, stage: str | None) -> None:
        """Have the browser remember that choice ("beginner", "engine-room"), or none."""
        if stage is None:
            self.page.context.clear_cookies(name="loopscope_stage")
        else:
            self.page.context.add_cookies([{"name": "loopscope_stage", "value": stage, "url": self.url}])

    # ---- being there

    def open(self, path: str = "/") -> Stage:
        """Go there and wait until the board is drawn (and, on the Train page, the controls are)."""
        self.page.goto(self.url + path)
        expect(self.loss.locator(".js-plotly-plot")).to_be_visible(timeout=PATIENCE)
        if not path.startswith("/watch"):
            expect(self.button("play")).to_be_enabled(timeout=PATIENCE)
        return self

    def wait(self, condition: str, argument: Any = None, timeout: float = PATIENCE) -> None:
        """Wait until a JavaScript condition is true; `board` in it is the board."""
        expression = f"(given) => {{ const board = {BOARD}; return board?.data.stream && ({condition}); }}"
        self.page.wait_for_function(expression, arg=argument, timeout=timeout)

    def fresh(self, path: str = "/") -> Stage:
        """Go there; and stop the run, if one is under way, so that a test begins with none."""
        self.open(path)
        self.wait("board.data.run !== undefined")
        if self.page.evaluate(f"['running', 'paused'].includes({BOARD}.data.stream.state)"):
            expect(self.button("stop")).to_be_enabled(timeout=PATIENCE)
            self.button("stop").click()
            self.wait("!['running', 'paused'].includes(board.data.stream.state)")
        expect(self.button("play")).to_have_text(re.compile("Start"), timeout=PATIENCE)
        return self

    # ---- what stands there

    @property
    def loss(self) -> Locator:
        """The loss panel."""
        return self.page.locator('.ls-panel[data-panel="loss"]')

    @property
    def header(self) -> Locator:
        """The line above the stage."""
        return self.page.locator(".ls-header")

    @property
    def run(self) -> str | None:
        """The run on show."""
        return self.page.evaluate(f"{BOARD}.data.run ?? null")

    @property
    def step(self) -> int:
        """The step that the header shows."""
        found = NUMBER.search(self.page.locator(".ls-steps").inner_text())
        return int(found[0].replace(",", "")) if found else -1

    def points(self, panel: str = "loss", channel: str = "train/loss", smooth: bool = False) -> tuple[list, list]:
        """Steps and values of a curve as it is drawn."""
        steps, values = self.page.evaluate(POINTS, [panel, channel, smooth])
        return steps, values

    def history(self, channel: str = "train/loss") -> list[int]:
        """The steps that this browser holds of a channel."""
        return self.page.evaluate(f"(channel) => {BOARD}.data.series.get(channel)?.steps ?? []", channel)

    def has_whole_history(self) -> bool:
        """Does it hold the loss from the first step to the newest? A long run's is thinned, but has no hole."""
        steps = self.history()
        newest = self.page.evaluate(f"{BOARD}.data.stream.step")
        gaps = [after - before for before, after in pairwise([0, *steps, newest])]
        return bool(steps) and steps[0] == 1 and max(gaps) <= HOLE

    def setting(self, name: str) -> Any:
        """A live setting of the run on show."""
        return self.page.evaluate(f"{BOARD}.data.stream.settings?.{name}")

    def is_in(self, state: str, timeout: float = PATIENCE) -> None:
        """The header says so."""
        expect(self.header).to_have_attribute("data-state", state, timeout=timeout)

    def reaches(self, step: int, timeout: float = 60_000) -> None:
        """The run gets to a step."""
        self.wait("board.data.stream.step >= given", step, timeout)

    def has(self, name: str, value: Any, timeout: float = PATIENCE) -> None:
        """A live setting of the run gets to a value."""
        self.wait("board.data.stream.settings?.[given[0]] === given[1]", [name, value], timeout)

    # ---- what a person does

    def keyed(self, key: str) -> Locator:
        """The widget of that key, or of that key and a number."""
        return self.page.locator(f'.st-key-{key}, [class*="st-key-{key}-"]')

    def number(self, key: str) -> Locator:
        """The field of the number of that key; while the page is drawn anew, the newer of two."""
        return self.keyed(key).locator("input").last

    def button(self, key: str) -> Locator:
        """The button of that key."""
        return self.keyed(key).get_by_role("button").first

    def press(self, key: str) -> None:
        """Press a key with nothing in focus."""
        self.page.evaluate("document.activeElement?.blur?.()")
        self.page.keyboard.press(key)

    def click(self, name: str) -> None:
        """Press the button with these words on it."""
        self.page.get_by_role("button", name=name).first.click()

    def start(self) -> Stage:
        """Press the big button and wait until it trains, and the button offers to pause."""
        self.button("play").click()
        self.is_in("running")
        expect(self.button("play")).to_have_text(re.compile("Pause"), timeout=PATIENCE)
        return self

    def zoom(self) -> tuple[float, float]:
        """Drag over a tenth of the loss chart; the stretch of steps that it shows then."""
        place = self.loss.locator(".nsewdrag").bounding_box()
        assert place
        mouse = self.page.mouse
        mouse.move(place["x"] + 0.2 * place["width"], place["y"] + 0.2 * place["height"])
        mouse.down()
        for part in (0.22, 0.25, 0.28, 0.3):
            mouse.move(place["x"] + part * place["width"], place["y"] + 0.8 * place["height"])
        mouse.up()
        self.loss.get_by_role("button", name=re.compile("Show the whole run")).wait_for()
        return self.range()

    def range(self) -> tuple[float, float]:
        """The stretch of steps that the loss chart shows."""
        low, high = self.loss.locator(".js-plotly-plot").evaluate("plot => plot._fullLayout.xaxis.range")
        return low, high

    def retried(self, condition: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Wait for something that only this side can tell, looking again at each frame of the page."""
        end = self.page.evaluate("performance.now()") + timeout
        while not condition():
            assert self.page.evaluate("performance.now()") < end, "it did not come about in time"
            self.page.evaluate("new Promise((done) => setTimeout(done, 50))")
