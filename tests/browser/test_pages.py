"""From page to page as a person goes: nothing is reloaded, nothing is lost, and each page shows what it is for."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import WebSocketRoute, expect
from streamlit.proto.BackMsg_pb2 import BackMsg

from engine.training.trainer import STAGES
from tests.browser.served import Server
from tests.browser.stage import PATIENCE, Stage

PAGES = ("Step", "Inside", "Embeddings", "First steps", "Compare", "Race", "Data", "Glossary")
PLOT = '.ls-panel[data-panel="loss"] .js-plotly-plot'
LINE = "[...window.loopscopeBoards].find(([key]) => key.endsWith(' line'))?.[1]"
BOARD_ON_PAGE = "[...window.loopscopeBoards.values()].find((board) => board.root)"
PLANE = "[...window.loopscopeBoards].find(([key]) => key.includes(' embeddings '))?.[1].tables"


def go(stage: Stage, page: str) -> None:
    """Follow the navigation to a page, and wait until it has been drawn."""
    stage.page.get_by_test_id("stTopNavLink").filter(has_text=re.compile(f"^{page}$")).first.click()
    path = "" if page == "Train" else page.lower().replace(" ", "_")
    stage.page.wait_for_url(re.compile(rf"127.0.0.1:\d+/{path}($|\?)"), timeout=PATIENCE)
    expect(stage.page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=PATIENCE)
    expect(stage.page.get_by_test_id("stException")).to_have_count(0)


@pytest.fixture
def training(server: Server, new_tab: Callable[..., Stage]) -> Stage:
    """The stage, with a bigram in training."""
    stage = new_tab(server).fresh("/?preset=bigram&speed=100&max_steps=1000000").start()
    stage.reaches(200)
    return stage


def test_all_pages_one_after_another_without_a_reload(training: Stage) -> None:
    training.page.evaluate("window.stillHere = true")
    for page in (*PAGES, "Train"):
        go(training, page)
    assert training.page.evaluate("window.stillHere")
    assert training.setting("lr") == 1e-3
    training.is_in("running")


def test_the_chart_and_its_zoom_stay_through_a_page_switch(training: Stage) -> None:
    zoomed = training.zoom()
    training.page.evaluate(f"window.kept = document.querySelector('{PLOT}')")
    go(training, "Inside")
    expect(training.loss).to_have_count(0)
    go(training, "Train")
    expect(training.loss.locator(".js-plotly-plot")).to_be_visible(timeout=PATIENCE)
    assert training.page.evaluate(f"window.kept === document.querySelector('{PLOT}')")
    assert training.range() == pytest.approx(zoomed)


@pytest.mark.thorough
def test_the_arrow_key_goes_through_the_nine_stages_of_one_step(training: Stage) -> None:
    go(training, "Step")
    for done, name in enumerate(STAGES, 1):
        expect(training.page.get_by_role("button", name=re.compile("^.*Next")).first).to_be_enabled(timeout=PATIENCE)
        training.press("ArrowRight")
        expect(training.page.get_by_role("heading", name=f"{done} {name}")).to_be_visible(timeout=PATIENCE)
    training.press("ArrowLeft")
    expect(training.page.get_by_role("heading", name="8 observe")).to_be_visible(timeout=PATIENCE)
    training.is_in("running")


def test_a_line_is_learnt_beside_the_room_s_run(training: Stage) -> None:
    go(training, "First steps")
    training.page.get_by_role("button", name="Start").locator("visible=true").first.click()
    training.page.wait_for_function(
        f"() => {LINE}?.data.series.get('parameter/a')?.steps.length > 10", timeout=PATIENCE
    )
    training.page.wait_for_function(
        "() => [...document.querySelectorAll('.ls-panel .js-plotly-plot')].flatMap((plot) => plot.data ?? [])"
        ".some((trace) => trace.meta?.path && trace.x.length > 5)",
        timeout=PATIENCE,
    )
    go(training, "Train")
    training.is_in("running")


def test_a_page_stays_when_the_board_of_the_one_before_speaks_after_the_click(
    server: Server, new_tab: Callable[..., Stage]
) -> None:
    held: list[bytes | str] = []
    holds = False

    def between(browser: WebSocketRoute) -> None:
        streamlit = browser.connect_to_server()

        def pass_on(message: bytes | str) -> None:
            asked = BackMsg.FromString(message) if isinstance(message, bytes) else BackMsg()
            if holds and (held or not asked.rerun_script.fragment_id):
                held.append(message)
            else:
                streamlit.send(message)
            if len(held) == 2:  # the click, and right after it the old page's board
                for one in held:
                    streamlit.send(one)
                held.clear()

        browser.on_message(pass_on)

    stage = new_tab(server)
    stage.page.route_web_socket(re.compile("_stcore/stream"), between)
    stage.fresh("/?preset=bigram&speed=unlimited&max_steps=60")
    for page, there in (("Step", ".st-key-rail_observe .ls-card"), ("Train", ".st-key-play button")):
        holds = True
        stage.page.get_by_test_id("stTopNavLink").filter(has_text=re.compile(f"^{page}$")).first.click()
        stage.retried(lambda: bool(held))
        stage.page.evaluate(f"{BOARD_ON_PAGE}.reporter.onChange({{ run: null, state: 'news' }})")
        stage.retried(lambda: not held)
        holds = False
        place = stage.page.locator(there).first
        expect(place).to_be_visible(timeout=PATIENCE)
        expect(stage.page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=PATIENCE)
        stage.page.wait_for_timeout(500)  # what would take the page away comes after its end
        expect(place).to_be_visible()


@pytest.mark.thorough
def test_tokens_in_a_plane_follow_the_run(training: Stage) -> None:
    go(training, "Embeddings")
    place = f"{PLANE}?.get('projection/token_embedding')?.data[0]"
    first = training.page.wait_for_function(f"() => {place}", timeout=PATIENCE).json_value()
    training.page.wait_for_function(f"(first) => {place} !== first", arg=first, timeout=PATIENCE)


def test_a_phone_has_the_chart_in_reach_and_its_note_goes_away(server: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(server, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True).open()
    assert stage.page.get_by_test_id("stMainMenu").evaluate("node => node.getBoundingClientRect().right") <= 390
    chart, more = stage.loss.bounding_box(), stage.keyed("more").first.bounding_box()
    assert chart and more and chart["y"] < 844 < more["y"], "the other controls are below the board"
    help_button, note = stage.loss.get_by_role("button", name="How to read"), stage.loss.locator(".ls-note")
    for place in (help_button, note):
        help_button.tap()
        expect(note).to_be_visible()
        place.tap()
        expect(note).to_be_hidden()
    widget = stage.page.get_by_role("button", name="Help for learning rate").first
    assert widget.evaluate("node => node.getBoundingClientRect().height") >= 28, "large enough for a finger"
    widget.tap()
    expect(stage.page.get_by_test_id("stTooltipContent")).to_be_visible()
