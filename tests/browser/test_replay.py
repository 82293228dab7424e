"""The HTML file that replays a run, in a real browser: it needs no server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from engine.stream.messages import Observation, Scalars
from pages.board.replay.export import page_of
from tests.board.test_replay_file import stored

PANELS = {"dark": "rgb(19, 26, 34)", "light": "rgb(245, 247, 249)"}


@pytest.mark.thorough
def test_it_follows_the_theme_and_plays_for_as_long_as_anybody_looks(browser: Browser, tmp_path: Path) -> None:
    table = np.ones((3, 4), np.float32)
    looks = [Observation(step, {"val/loss": 2.5}, {"weights/x": table}) for step in range(0, 1000, 100)]
    file = tmp_path / "run.html"
    file.write_bytes(page_of(stored(*looks, corpus="ferry-notebook")))
    page = browser.new_page(color_scheme="dark")
    page.clock.install()
    page.goto(file.as_uri())
    for theme in ("dark", "light"):
        page.emulate_media(color_scheme=theme)
        for chart in ("loss", "grad", "table"):
            expect(page.locator(f"#{chart} .main-svg").first).to_have_css("background-color", PANELS[theme])
    expect(page.locator("#loss")).to_contain_text("guessing: ln 66 = 4.190")
    assert page.evaluate("document.querySelector('#loss')._fullLayout.yaxis.type") == "linear"
    page.locator("#play").click()
    expect(page.locator("#step")).to_have_text("step 0")
    page.clock.run_for(15_000)
    expect(page.locator("#play")).to_have_text("Pause")
    page.clock.run_for(15_000)
    expect(page.locator("#play")).to_have_text("Play")
    expect(page.locator("#step")).to_have_text("step 900")
    page.close()


def test_a_loss_that_leaves_every_scale_is_drawn_on_a_logarithmic_one(browser: Browser, tmp_path: Path) -> None:
    ended = [Scalars(1000 + step, 10.0 ** (3 * step), 1.0, 1e6, 0.5) for step in range(1, 11)]
    file = tmp_path / "run.html"
    file.write_bytes(page_of(stored(*ended)))
    page = browser.new_page()
    page.goto(file.as_uri())
    expect(page.locator("#loss .ytick").last).to_contain_text("10")
    assert page.evaluate("document.querySelector('#loss')._fullLayout.yaxis.type") == "log"
    page.close()
