"""Step in a real browser: never empty, whatever the run is doing; the arrow keys go through the nine stages."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from engine.training.trainer import STAGES
from tests.browser.served import Server
from tests.browser.stage import PATIENCE, Stage
from tests.browser.test_pages import go

NEWEST = "[...window.loopscopeBoards.values()].at(-1).data.stream"
SMALL = """() => [...document.querySelectorAll('.stMain *')]
  .filter((node) => node.checkVisibility() && [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim()))
  .filter((node) => node.closest('.st-key-rail, .st-key-step_bar, .st-key-step_where, .st-key-places, .ls-told'))
  .map((node) => [parseFloat(getComputedStyle(node).fontSize), node.textContent])
  .filter(([size]) => size < 14)"""


def opens_step(stage: Stage) -> None:
    """Go to Step: the nine stages are there, each with its card; nothing on the page cannot act."""
    began = time.monotonic()
    go(stage, "Step")
    for name in STAGES:
        expect(stage.page.locator(f".st-key-rail_{name} .ls-card")).to_be_visible(timeout=PATIENCE)
    print(f"nine stages after {time.monotonic() - began:.2f} s")
    expect(stage.page.locator(".stMain button:disabled")).to_have_count(0, timeout=PATIENCE)
    assert stage.page.evaluate(SMALL) == []


def copied(stage: Stage) -> int:
    """The step that the copy was taken after."""
    found = stage.page.get_by_text(re.compile(r"as it was after step [\d,]+")).first
    expect(found).to_be_visible(timeout=PATIENCE)
    told = re.search(r"after step ([\d,]+)", found.inner_text())
    assert told
    return int(told[1].replace(",", ""))


def walks(stage: Stage) -> None:
    """The arrow key goes through the nine stages of one step, and each says its sentence."""
    said = set()
    for done, name in enumerate(STAGES, 1):
        stage.press("ArrowRight")
        expect(stage.page.get_by_role("heading", name=f"{done} {name}")).to_be_visible(timeout=PATIENCE)
        said.add(stage.page.locator(".ls-told:not([role=status])").inner_text())
    assert len(said) == len(STAGES)


@pytest.fixture
def stage(server: Server, new_tab: Callable[..., Stage]) -> Stage:
    return new_tab(server)


def test_step_is_never_empty_while_a_run_trains_and_after_it_is_held(stage: Stage) -> None:
    stage.fresh("/?preset=bigram&speed=100&max_steps=1000000").start().reaches(50)
    opens_step(stage)
    step = copied(stage)
    assert step >= 50
    walks(stage)
    assert copied(stage) == step and stage.page.evaluate(f"{NEWEST}.state") == "running"
    stage.page.wait_for_function(f"(step) => {NEWEST}.step > step", arg=step, timeout=PATIENCE)
    stage.click("Look at the present step")
    expect(stage.page.get_by_text(f"as it was after step {step:,}.")).to_have_count(0, timeout=PATIENCE)
    stage.click("Pause it here")
    stage.is_in("paused")
    held = stage.page.evaluate(f"{NEWEST}.step")
    expect(stage.page.get_by_text(f"as it was after step {held:,}.")).to_be_visible(timeout=PATIENCE)
    stage.click("Make this step in the run")
    stage.page.wait_for_function(f"(step) => {NEWEST}.step === step + 1", arg=held, timeout=PATIENCE)
    expect(stage.page.get_by_text(f"as it was after step {held + 1:,}.")).to_be_visible(timeout=PATIENCE)
    stage.click("Train on")
    stage.is_in("running")


@pytest.mark.parametrize(
    ("link", "state"),
    [
        ("/?preset=bigram&speed=unlimited&max_steps=60", "done"),
        pytest.param(
            "/?preset=bigram&speed=unlimited&max_steps=1000&lr=1e7&weight_decay=0.1",
            "diverged",
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_step_is_never_empty_when_a_run_has_ended(stage: Stage, link: str, state: str) -> None:
    stage.fresh(link).button("play").click()
    stage.is_in(state)
    opens_step(stage)
    copied(stage)
    walks(stage)


@pytest.mark.thorough
def test_step_is_never_empty_on_a_run_from_elsewhere(stage: Stage, server: Server) -> None:
    folder = server.home / "runs" / "by-hand"
    stage.fresh()
    folder.mkdir(parents=True)
    told = [{"run": {"name": "my loop"}}, *({"step": i, "loss": 1 / i} for i in range(1, 21))]
    (folder / "records.jsonl").write_text("\n".join(map(json.dumps, told)) + "\n", encoding="utf-8")
    stage.page.locator(".st-key-watch-by-hand button").click(timeout=PATIENCE)
    expect(stage.header).to_contain_text("my loop", timeout=PATIENCE)
    opens_step(stage)
    expect(stage.page.get_by_text("its numbers come here, but not its model. A fresh bigram")).to_be_visible()
    walks(stage)
    go(stage, "Train")
    stage.page.locator(".st-key-leave button").first.click(timeout=PATIENCE)
