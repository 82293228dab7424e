"""All that stands on the board is of one step, at any speed and with any model, and so it is at an earlier moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.served import Server
from tests.browser.stage import BOARD, Stage

PRESETS = ("bigram", "gpt-tiny", "simple")
LOOKS, EVERY = 200, 100  # ms between two of them
SLOW = "fewer than ten steps a second"
LONG = 600_000  # ms: `simple` has 162 million parameters

# What each part of the board says of the step that it shows, right after a frame was painted.
LOOK = """async ([looks, every, slow]) => {
  const board = [...window.loopscopeBoards.values()][0];
  const number = (text) => Number(/[\\d,]+/.exec(text)[0].replaceAll(",", ""));
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const look = () => {
    const steps = { header: number(board.header.steps.textContent) };
    steps[slow] = board.data.header.steps_per_second < 10;
    for (const [key, { chart, frame }] of board.panels.all) {
      const { moment } = frame.body.dataset;
      if (moment && key !== "samples") steps[`${key} badge`] = number(moment);
      const newest = frame.body.querySelector(".ls-sample .ls-when");
      if (newest) steps["sample at most"] = Math.max(steps.header, number(newest.textContent));
      for (const { meta, x, mode } of chart.plot?.data ?? []) {
        const each = ["train/loss", "grad_norm", "update_ratio"].includes(meta?.channel) && !meta.run;
        const name = `${key} ${meta?.channel}${meta?.smooth ? " smooth" : ""}`;
        if (each && mode === "lines" && x?.length) steps[name] = x.at(-1);
      }
    }
    return steps;
  };
  const seen = [];
  for (let i = 0; i < looks; i++) {
    await new Promise((done) => setTimeout(done, every));
    await painted();
    seen.push(look());
  }
  return seen;
}"""

LINES = """() => [...window.loopscopeBoards.values()][0].panels.overSteps.map(({ plot }) =>
  plot.layout.shapes.findLast(({ type, layer }) => type === "line" && layer !== "below")?.x0)"""


def wrong(looks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The looks at which something was of another step than the header.

    Of a run that takes long for a step nothing waits for the tables, which come every few steps: these, and what is
    measured with them, are then all of one earlier step, as the badge says.
    """
    found = []
    for look in looks:
        measured = {step for name, step in look.items() if "badge" in name or "update_ratio" in name}
        others = {
            step for name, step in look.items() if "badge" not in name and "update_ratio" not in name and name != SLOW
        }
        late = look[SLOW] and len(measured) == 1 and min(measured) <= look["header"]
        if len(others) > 1 or (measured != others and not late):
            found.append(look)
    return found


@pytest.mark.thorough
def test_all_panels_headline_and_badges_name_one_step(server: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(server)
    found: dict[str, list[dict[str, Any]]] = {}
    for preset in PRESETS:
        stage.fresh(f"/?preset={preset}&speed=100&max_steps=900000").start()
        for speed, word in ((100, "100"), ("unlimited", "max")):
            stage.keyed("speed").get_by_text(word, exact=True).click()
            stage.has("speed", speed)
            stage.reaches(2, LONG)
            looks = stage.page.evaluate(LOOK, [LOOKS, EVERY, SLOW])
            steps = sorted({look["header"] for look in looks})
            found[f"{preset} {word}"] = wrong(looks)
            print(f"{preset} at {word}: {len(looks)} looks, {len(steps)} moments, {len(wrong(looks))} of several steps")
            print(wrong(looks)[:3] or looks[-1])
        half = stage.page.evaluate(f"{BOARD}.data.stream.step") // 2
        stage.page.evaluate(f"(step) => {BOARD}.scrubber.go(step)", half)
        stage.wait("board.scrubber.past && !board.scrubber.busy")
        past = stage.page.evaluate(f"{BOARD}.scrubber.past.step")
        stage.wait("document.querySelector('.ls-board').dataset.step === String(given)", past)
        assert stage.step == past, "the headline follows"
        badges = stage.page.locator("[data-past]").evaluate_all("nodes => nodes.map((node) => node.dataset.past)")
        assert set(badges) == {f"step {past:,}, past"}
        stage.retried(lambda past=past: set(stage.page.evaluate(LINES)) == {past})  # each chart over steps marks it
        stage.page.get_by_role("button", name="Back to the newest step").click()
    assert not any(found.values()), {name: looks[:3] for name, looks in found.items() if looks}
