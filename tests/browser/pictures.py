"""Takes the pictures in docs/ from the real app, its engine room open: `python -m tests.browser.pictures`.

One run of the bigram on the shipped play, its learning rate raised on the way, in both themes at four sizes; the
smallest is a phone that watches.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.served import ROOT, Server
from tests.browser.stage import BOARD

SIZES = ((1600, 900), (1366, 768), (1280, 720), (390, 844))
PHONE = 390
TURN_AT, SHOWN_AT = 1500, 5000
SETTLED = 1500  # ms for the charts to draw what has come


def main() -> None:
    """Train, and take a picture for each theme and size."""
    found = next(filter(None, map(shutil.which, CHROMIUM)))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder), OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS.split())
        stage = browser.new_page()
        stage.goto(f"{server.url}/?preset=bigram&speed=1000")
        stage.locator(".st-key-play button:visible").first.click()
        stage.wait_for_function("() => window.loopscopeBoards")
        stage.wait_for_function(f"() => {BOARD}.data.stream?.step >= {TURN_AT}", timeout=120_000)
        for _ in range(3):  # 1e-3 to 1e-2
            stage.keyboard.press("ArrowUp")
            stage.wait_for_timeout(300)
        stage.wait_for_function(f"() => {BOARD}.data.stream.step >= {SHOWN_AT}", timeout=120_000)
        stage.close()
        for theme in ("dark", "light"):
            for width, height in SIZES:
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
                page.goto(server.url + ("/watch" if width == PHONE else "/?stage=engine-room"))
                for panel in ("loss", "table") if width == PHONE else ("loss", "table", "grad_norm", "update_ratio"):
                    page.locator(f".ls-panel[data-panel={panel}] .js-plotly-plot").wait_for(timeout=60_000)
                if width != PHONE:
                    page.locator(".st-key-share:visible").wait_for(timeout=60_000)
                page.wait_for_function(f"() => {BOARD}.data.stream.step >= {SHOWN_AT}")
                page.wait_for_timeout(SETTLED)
                target = ROOT / "docs" / f"stage-{width}x{height}-{theme}.png"
                page.screenshot(path=target)
                print(target.name)
                page.close()
        browser.close()
        server.end()


if __name__ == "__main__":
    main()
