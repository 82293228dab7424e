"""Time travel in a real browser: the scrubber, a moment opened on every page, notes, pictures; and a divergence."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from engine import link
from engine.paths import home
from engine.runs import datasets
from engine.storage.reader import StoredRun, scalars
from engine.text.library import Library
from engine.training.trainer import Trainer
from tests.browser.served import Server
from tests.browser.stage import BOARD, PATIENCE, Stage

QUICK = "/?preset=bigram&speed=1000&observe_every=10&max_steps=6000"
STEADY = "/?preset=bigram&speed=100&max_steps=1000000"
MOMENTS = 100
GROUNDS = {"dark": (0x13, 0x1A, 0x22), "light": (0xF5, 0xF7, 0xF9)}

# As a person drags: from one place of the slider to the next, each waited for until its moment is on show.
DRAG = """async (many) => {
  const board = [...window.loopscopeBoards.values()][0];
  const { scrubber } = board;
  const seen = new Set();
  for (let at = 1; at <= many; at++) {
    scrubber.slider.value = Math.round((at / many) * board.data.stream.step);
    scrubber.slider.dispatchEvent(new Event("input"));
    while (scrubber.busy) await new Promise((done) => setTimeout(done, 1));
    seen.add(scrubber.past.step);
  }
  return [...seen];
}"""


def put(stage: Stage, step: int) -> None:
    """Drag the scrubber to a step and wait until it stands at the moment stored last before it, and shows that."""
    stage.page.locator(".ls-moment").evaluate(
        "(slider, step) => { slider.value = step; slider.dispatchEvent(new Event('input')); }", step
    )
    stage.wait("board.scrubber.past && board.scrubber.past.step <= given && !board.scrubber.busy", step)
    stage.wait("Number(board.scrubber.slider.value) === board.scrubber.past.step")


def said(stage: Stage) -> Locator:
    """The line of the moment that is opened."""
    return stage.page.locator(".st-key-past")


def follow(stage: Stage, page: str) -> None:
    """Go to another page that shows the moment, by the line's own link."""
    said(stage).get_by_role("link", name=page, exact=True).click()
    path = "" if page == "Train" else page.lower()
    stage.page.wait_for_url(re.compile(rf"127.0.0.1:\d+/{path}($|\?)"), timeout=PATIENCE)
    expect(stage.page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=PATIENCE)
    expect(stage.page.get_by_test_id("stException")).to_have_count(0)


@pytest.mark.thorough
def test_scrubbing_through_many_moments_changes_no_loss(server: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(server).fresh(QUICK).start()
    stage.reaches(1000)
    seen = stage.page.evaluate(DRAG, MOMENTS)
    state = stage.page.evaluate(f"{BOARD}.data.stream.state")
    assert len(seen) > MOMENTS / 2 and seen == sorted(seen)
    expect(stage.page.locator(".ls-said")).to_have_text(re.compile(r"^step [\d,]+, past · loss \d"))
    stage.page.get_by_role("button", name="Back to the newest step").click()
    stage.wait("board.scrubber.past === null && !board.node.classList.contains('ls-travels')", timeout=PATIENCE)
    stage.is_in("done", timeout=90_000)
    run = StoredRun(server.home / "runs" / str(stage.run))
    stage.retried(lambda: len(list(scalars(run))) == 6_000)
    begin, notices = link.read(dict(parse_qsl(urlsplit(QUICK).query)))
    assert not notices
    corpus = datasets.encoded_corpus(*Library(home()).load_name(begin.config.corpus), begin.config)
    losses: list[float] = []
    alone = Trainer(begin.config, begin.settings, corpus, lambda record: losses.append(getattr(record, "loss", None)))
    while alone.step < 6_000:
        alone.advance()
    told = np.array([loss for loss in losses if loss is not None], np.float32)
    assert np.array_equal(np.array([row.loss for row in scalars(run)], np.float32), told)
    print(f"{len(seen)} moments seen; it was {state} when the last of them was")


def test_the_scrubber_by_key_and_in_motion(server: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(server).fresh(QUICK).start()
    stage.reaches(1000)
    stage.press("Space")
    stage.is_in("paused")
    put(stage, 500)
    stage.page.locator(".ls-moment").focus()
    for key, step in (("ArrowLeft", 490), ("ArrowRight", 500), ("PageUp", 600), ("Home", 0)):
        stage.page.keyboard.press(key)
        stage.wait("board.scrubber.past?.step === given", step)
    assert stage.setting("lr") == 1e-3, "the arrows belong to the slider that has the focus"
    stage.page.get_by_label("Stored moments a second").select_option("50")
    stage.page.get_by_role("button", name="Play the stored moments one after another").click()
    stage.wait("board.scrubber.past?.step > 300")
    stage.wait("board.scrubber.past === null && !board.scrubber.active")


@pytest.mark.thorough
def test_a_moment_opens_on_every_page_and_live_is_one_click_away(server: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(server).fresh(STEADY).start()
    stage.reaches(300)
    put(stage, 270)
    stage.page.get_by_role("button", name=re.compile("^Open the full state")).click()
    expect(said(stage)).to_contain_text("Step 250, past: made again from the snapshot of step 200.")
    stage.wait("board.scrubber.past?.step === 250", timeout=PATIENCE)
    follow(stage, "Inside")
    expect(stage.page.get_by_text(re.compile("at step 250"))).to_be_visible(timeout=PATIENCE)
    follow(stage, "Step")
    expect(stage.page.get_by_text("Before the step")).to_be_visible(timeout=PATIENCE)
    stage.press("ArrowRight")
    expect(stage.page.get_by_role("heading", name="1 batch")).to_be_visible(timeout=PATIENCE)
    follow(stage, "Embeddings")
    expect(stage.page.get_by_text(re.compile("weights of step 250"))).to_be_visible(timeout=PATIENCE)
    here = "[...window.loopscopeBoards.values()].find(({ page }) => page === 'embeddings')"
    stage.page.wait_for_function(f"() => {here}?.scrubber.past?.step === 250", timeout=PATIENCE)
    stage.page.get_by_role("button", name="Back to the newest step").click()
    expect(said(stage)).to_have_count(0, timeout=PATIENCE)
    stage.page.wait_for_function(f"() => {here}?.scrubber.past === null", timeout=PATIENCE)
    stage.is_in("running")


def test_a_note_is_pinned_and_a_fork_turns_a_knob_at_a_scrubbed_step(
    server: Server, new_tab: Callable[..., Stage]
) -> None:
    stage = new_tab(server).fresh(STEADY).start()
    stage.reaches(120)
    parent = stage.run
    put(stage, 77)
    expect(stage.page.locator(".ls-said")).to_have_text(re.compile("^step 50, past"))
    stage.page.get_by_role("button", name="Pin a note at this step of the charts").click()
    stage.page.get_by_label("note at step 50").fill("<b>here</b> it turns")
    stage.page.get_by_role("button", name="Pin it").click()
    label = stage.loss.locator(".annotation-text").filter(has_text="<b>here</b> it turns")
    expect(label).to_be_visible(timeout=PATIENCE)
    put(stage, 77)
    stage.page.get_by_role("button", name="Fork the run at this step").click()
    expect(stage.number("fork_step")).to_have_value("50", timeout=PATIENCE)
    stage.number("fork_lr").fill("0.25")
    stage.page.get_by_role("button", name="Fork there").click()
    stage.wait("board.data.run !== given && board.data.stream.step === 50", parent)
    stage.has("lr", 0.25)
    stage.is_in("paused")


@pytest.mark.parametrize("theme", ["dark", pytest.param("light", marks=pytest.mark.thorough)])
def test_each_chart_is_saved_as_a_picture(
    server: Server, new_tab: Callable[..., Stage], theme: str, tmp_path: Path
) -> None:
    stage = new_tab(server, color_scheme=theme).fresh(STEADY).start()
    stage.reaches(60)
    stage.press("Space")
    stage.is_in("paused")
    names = []
    for button in stage.page.get_by_role("button", name=re.compile("^Save as PNG")).all():
        with stage.page.expect_download() as saved:
            button.click()
        names.append(saved.value.suggested_filename)
        saved.value.save_as(tmp_path / names[-1])
        picture = Image.open(io.BytesIO((tmp_path / names[-1]).read_bytes())).convert("RGB")
        assert min(picture.size) > 300
        assert picture.getpixel((2, picture.height - 3)) == GROUNDS[theme]
        assert len(picture.getcolors(1 << 24) or []) > 50, "there is a chart on it"
    step = stage.page.evaluate(f"{BOARD}.data.stream.step")
    title = "bigram-on-the-lamplighters-of-quay-street"
    charts = ("loss", "embedding-prob", "gradient-norm", "update-weight")
    assert sorted(names) == sorted(f"{title}-{chart}-step-{step}.png" for chart in charts)


PICTURE = """async (board) => {
  const { savePicture } = await import("/charts/picture.js");
  const { frame, plot } = board.panels.get("loss").chart;
  let drawn = null;
  const toImage = async (figure) => { drawn = figure; return "data:,"; };
  for (const trace of plot.data) trace.name &&= "<b>&amp;</b>";
  await savePicture({ board: { ...board, Plotly: { toImage } }, frame, plot });
  const names = drawn.data.filter(({ showlegend }) => showlegend).map(({ name }) => name);
  return [names, JSON.stringify(drawn.layout).includes("Source Sans")];
}"""


@pytest.mark.thorough
def test_a_picture_has_no_markup_in_names_and_no_font_of_the_page(
    server: Server, new_tab: Callable[..., Stage]
) -> None:
    stage = new_tab(server).fresh(STEADY)
    stage.wait("board.panels.get('loss').chart.plot._fullLayout")
    names, in_the_page_s_font = stage.page.evaluate(f"() => ({PICTURE})({BOARD})")
    assert set(names) == {"&lt;b&gt;&amp;amp;&lt;/b&gt;"}
    assert not in_the_page_s_font, "words are measured in it, but a picture cannot draw it"


def test_out_of_a_divergence_with_one_click(server: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(server).fresh("/?preset=bigram&speed=unlimited&max_steps=500")
    stage.button("play").click()
    stage.is_in("done")
    stage.number("lr_number").fill("1000000")
    stage.number("lr_number").press("Enter")
    stage.has("lr", 1e6)
    stage.number("max_steps_number").fill("100000")
    stage.number("max_steps_number").press("Enter")
    stage.is_in("diverged")
    diverged = stage.run
    expect(stage.keyed("lesson")).to_contain_text(
        "After step 500 the learning rate was raised from 0.001 to 1 million.", timeout=PATIENCE
    )
    for words in ("diverged at step", "The first sign came in step 501", "one update moved token embedding by"):
        expect(stage.keyed("lesson")).to_contain_text(words)
    expect(stage.page.get_by_role("alert").filter(has_text="diverged")).to_have_count(0)  # it is said once
    panels = stage.page.locator(".ls-panel")
    high = [panel.bounding_box()["height"] for panel in panels.all()]
    stage.keyed("lesson_close").get_by_role("button").click()
    expect(stage.page.get_by_role("alert").filter(has_text="diverged at step")).to_be_visible()
    assert all(
        box["height"] <= before for box, before in zip((p.bounding_box() for p in panels.all()), high, strict=True)
    )
    stage.page.reload()
    stage.page.get_by_role("button", name="Start again with learning rate 0.0005 instead of 1 million").click()
    stage.wait(
        "board.data.run !== given && board.data.stream.step > 600 && board.data.stream.state === 'running'", diverged
    )
    assert (stage.setting("lr"), stage.setting("max_steps")) == (0.0005, 100_000)
    told = stage.page.evaluate(f"{BOARD}.data.events.map(({{ step, name }}) => [step, name])")
    assert [450, "forked"] in told and [450, "lr"] in told
    expect(stage.loss.get_by_role("button", name="Dismiss the previous run's curve")).to_be_visible(timeout=PATIENCE)
    stage.wait("board.previousRun?.run === given && board.previousRun.steps.length > 100", diverged)
