"""The keyboard of the stage: one key, one thing; and none while somebody types."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import WebSocketRoute, expect

from tests.browser.served import Server
from tests.browser.stage import Stage


@pytest.fixture
def ready(server: Server, new_tab: Callable[..., Stage]) -> Stage:
    """A tab on a page that would start a steady bigram; nothing is under way."""
    return new_tab(server).fresh("/?preset=bigram&speed=100&max_steps=1000000")


def test_space_starts_and_pauses(ready: Stage) -> None:
    ready.press("Space")
    ready.is_in("running")
    expect(ready.button("play")).to_have_text(re.compile("Pause"))
    ready.press("Space")
    ready.is_in("paused")
    expect(ready.button("play")).to_have_text(re.compile("Resume"))
    ready.press("Space")
    ready.is_in("running")


@pytest.mark.thorough
def test_a_key_after_a_click_beside_the_controls_draws_no_ring_around_the_page(ready: Stage) -> None:
    ready.page.locator(".ls-header").click(position={"x": 4, "y": 4})
    ready.page.keyboard.press("ArrowUp")
    main = ready.page.get_by_test_id("stMain")
    assert main.evaluate("node => node === document.activeElement")
    ring = main.evaluate("node => getComputedStyle(node, '::before').boxShadow")
    assert ring == "none"


@pytest.mark.thorough
def test_a_link_that_was_followed_keeps_no_key(ready: Stage) -> None:
    ready.start().reaches(5)
    ready.page.get_by_role("link", name="Train").first.focus()
    ready.page.keyboard.press("Space")
    ready.is_in("paused")


@pytest.mark.thorough
def test_right_makes_one_step(ready: Stage) -> None:
    ready.start()
    ready.press("Space")
    ready.is_in("paused")
    for _ in range(2):
        expect(ready.button("play")).to_have_text(re.compile("Resume"))
        before = ready.page.evaluate("[...loopscopeBoards.values()][0].data.stream.step")
        ready.press("ArrowRight")
        ready.wait("board.data.stream.step === given && board.data.stream.state === 'paused'", before + 1)


@pytest.mark.thorough
def test_up_and_down_turn_the_learning_rate_by_a_notch(ready: Stage) -> None:
    ready.start()
    ready.press("ArrowUp")
    ready.has("lr", 0.002)
    expect(ready.number("lr_number")).to_have_value(re.compile(r"0\.002"))
    ready.press("ArrowDown")
    ready.has("lr", 0.001)
    ready.press("ArrowDown")
    ready.has("lr", 0.0005)


@pytest.mark.thorough
def test_backspace_goes_back_to_the_same_start(ready: Stage) -> None:
    ready.start().reaches(10)
    first = ready.run
    ready.button("stop").click()
    ready.is_in("stopped")
    expect(ready.button("play")).to_have_text(re.compile("Start"))
    ready.press("Backspace")
    ready.wait("board.data.run !== given && board.data.stream.state === 'ready' && board.data.stream.step === 0", first)
    ready.press("Space")
    ready.is_in("running")


def test_backspace_asks_while_it_trains(ready: Stage) -> None:
    ready.start()
    first = ready.run
    ready.press("Backspace")
    expect(ready.page.get_by_text("Stop it and reset?")).to_be_visible()
    ready.click("Cancel")
    expect(ready.page.get_by_text("Stop it and reset?")).to_be_hidden()
    ready.is_in("running")
    assert ready.run == first


@pytest.mark.thorough
def test_s_samples(ready: Stage) -> None:
    ready.start().reaches(5)
    prompt = ready.keyed("prompt").locator("input")
    prompt.fill("Where was")
    prompt.press("Enter")
    ready.press("s")
    expect(ready.page.locator(".ls-sample").filter(has_text="Where␣was").first).to_be_visible()


def test_p_presents_and_comes_back(ready: Stage) -> None:
    size = "getComputedStyle(document.querySelector('.ls-state')).fontSize"
    there = "document.querySelector('.ls-state')"
    ready.wait(there)  # the header is drawn anew now and then
    before = float(ready.page.evaluate(size).removesuffix("px"))
    ready.press("p")
    ready.wait(f"{there} && parseFloat({size}) > 1.25 * given", before)
    expect(ready.keyed("stop")).to_have_count(0)  # of the controls, what a presenter turns
    for key in ("play", "lr_number", "speed_list"):
        expect(ready.keyed(key).first).to_be_visible()
    ready.press("p")
    ready.wait(f"{there} && parseFloat({size}) === given", before)
    expect(ready.keyed("stop").first).to_be_visible()


def test_no_key_acts_while_somebody_types(ready: Stage) -> None:
    ready.start().reaches(5)
    run, version = ready.run, ready.setting("version")
    prompt = ready.keyed("prompt").locator("input")
    prompt.click()
    prompt.press_sequentially("so pp")
    for key in ("ArrowUp", "ArrowDown", "ArrowRight", "Backspace", "Space", "s", "p"):
        prompt.press(key)
    expect(prompt).to_have_value("so p sp")
    prompt.press("Enter")
    ready.press("ArrowUp")  # a key that does act: whatever the others had done would have come before it
    ready.has("lr", 0.002)
    ready.is_in("running")
    assert ready.run == run
    assert ready.setting("version") == version + 1
    assert ready.setting("lr") == 0.002
    assert ready.keyed("speed").count() == 1, "not in presenter mode"
    expect(ready.page.locator(".ls-sample").filter(has_text="so p")).to_have_count(0)


@pytest.mark.thorough
def test_space_presses_the_control_that_has_the_focus(ready: Stage) -> None:
    ready.start().reaches(5)
    ready.press("Space")
    ready.is_in("paused")
    help_button = ready.loss.get_by_role("button", name="How to read")
    help_button.press("Space")
    expect(ready.loss.get_by_role("note")).to_be_visible()
    ready.button("lr_up").press("Space")
    ready.has("lr", 0.002)
    ready.button("present").press("Space")
    expect(ready.keyed("speed")).to_have_count(0)
    ready.button("present").press("p")
    expect(ready.keyed("speed")).to_be_visible()
    ready.is_in("paused")
    ready.press("Space")
    ready.is_in("running")


@pytest.mark.thorough
def test_space_starts_and_pauses_after_a_click_on_another_control(ready: Stage) -> None:
    """The click left the focus there; nobody brought it there for the space bar."""
    ready.start().reaches(5)
    ready.button("lr_up").click()
    ready.has("lr", 0.002)
    ready.page.keyboard.press("Space")
    ready.is_in("paused")
    ready.keyed("speed").get_by_text("10", exact=True).click()
    ready.has("speed", 10)
    ready.page.keyboard.press("Space")
    ready.is_in("running")
    expect(ready.button("play")).to_have_text(re.compile("Pause"))
    ready.page.keyboard.press("Space")
    ready.is_in("paused")
    assert ready.setting("lr") == 0.002
    ready.button("lr_up").click()
    ready.has("lr", 0.005)
    ready.page.keyboard.press("Tab")
    ready.page.keyboard.press("Shift+Tab")
    ready.page.keyboard.press("Space")
    ready.has("lr", 0.01)
    ready.is_in("paused")


def quiet(stage: Stage, held: list[str | bytes]) -> bool:
    """Has no more come for a while?"""
    before = len(held)
    stage.page.evaluate("new Promise((done) => setTimeout(done, 700))")
    return len(held) == before


@pytest.mark.thorough
def test_a_page_that_lags_behind_turns_no_knob_back(server: Server, new_tab: Callable[..., Stage]) -> None:
    """The page still shows the old number when the next key is pressed: only what was pressed may count."""
    stage = new_tab(server)
    lines: list[WebSocketRoute] = []
    lagging: list[bool] = []
    held: list[str | bytes] = []

    def between(page: WebSocketRoute) -> None:
        app = page.connect_to_server()
        page.on_message(app.send)
        app.on_message(lambda message: held.append(message) if lagging else page.send(message))
        lines.append(page)

    stage.page.route_web_socket(re.compile("/_stcore/stream"), between)
    stage.fresh("/?preset=bigram&speed=100&max_steps=1000000").start()
    expect(stage.button("play")).to_have_text(re.compile("Pause"))
    lagging.append(True)
    for key, lr in (("ArrowUp", 0.002), ("ArrowUp", 0.005), ("ArrowDown", 0.002)):
        stage.press(key)
        stage.has("lr", lr)
    already = len(held)
    stage.press("s")  # one more drawing, in which no knob has moved
    stage.retried(lambda: len(held) > already and quiet(stage, held))
    lagging.clear()
    for message in held:  # now the page hears of all of it at once
        lines[-1].send(message)
    expect(stage.number("lr_number")).to_have_value(re.compile(r"^0\.002"))
    expect(stage.keyed("lr_slider").get_by_role("slider").last).to_have_attribute("aria-valuetext", "2e-3")
    stage.press("ArrowUp")
    stage.has("lr", 0.005)
    expect(stage.number("lr_number")).to_have_value(re.compile(r"^0\.005"))
    stage.wait("board.data.events.filter(({ text }) => text.startsWith('lr')).length >= 3")
    turned = stage.page.evaluate("[...loopscopeBoards.values()][0].data.events.map(({ text }) => text)")
    assert [text for text in turned if text.startswith("lr")] == [
        "lr 0.001 → 0.002",
        "lr 0.002 → 0.005",
        "lr 0.005 → 0.002",
        "lr 0.002 → 0.005",
    ]


@pytest.mark.thorough
def test_what_comes_and_goes_among_the_controls_moves_no_other(ready: Stage) -> None:
    """A control that leaves the page for a moment, to be built elsewhere, takes no key meanwhile."""
    ready.page.evaluate("""() => {
      window.left = 0;
      const place = ".st-key-present";
      const present = (node) => node.nodeType === 1 && (node.matches(place) || node.querySelector(place));
      new MutationObserver((changes) => {
        for (const { removedNodes } of changes) for (const node of removedNodes) if (present(node)) window.left++;
      }).observe(document.body, { subtree: true, childList: true });
    }""")
    ready.start()
    ready.reaches(20)
    ready.button("stop").click()
    expect(ready.page.get_by_role("button", name="Go on with this run")).to_be_visible()
    ready.press("Backspace")
    expect(ready.page.get_by_role("button", name="Go on with this run")).to_have_count(0)
    ready.start()
    ready.press("Backspace")
    expect(ready.page.get_by_role("button", name="Stop it")).to_be_visible()
    ready.page.get_by_role("button", name="Cancel").click()
    expect(ready.page.get_by_role("button", name="Stop it")).to_have_count(0)
    assert ready.page.evaluate("left") == 0
