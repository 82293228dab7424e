"""A question before the room: a presenter, phones that answer, and what they see up to the reveal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Watched
from tests.browser.served import Server, copy_project
from tests.browser.stage import PATIENCE, Stage
from tests.browser.test_accessibility import AXE, FINDINGS

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
PHONES = 12
OPTIONS = ("it falls <b>slowly</b>", "it climbs", "it stays")
BOLD = "document.querySelectorAll('.ls-question b:not(.ls-tag)').length"

# Put under the copy's app.py: a presenter's hand. Each line of the file `orders` in the data home is done in turn.
HAND = """
import json
import threading
import time

from engine.lessons import poll
from engine.lessons.classroom import classroom
from engine.paths import home


def _obey():
    done, room = 0, classroom()
    while True:
        orders = (home() / "orders").read_text().splitlines() if (home() / "orders").exists() else []
        for order in orders[done:]:
            name, *given = json.loads(order)
            if name == "ask":
                kind, bounds = given.pop(), given.pop()
                bounds = {key: tuple(value) if isinstance(value, list) else value for key, value in bounds.items()}
                given.append(getattr(poll, kind)(**bounds))
            getattr(room, name)(*given)
            done += 1
        told = room.poll.told() if room.poll else {}
        (home() / "telling").write_text(json.dumps(told))
        (home() / "telling").replace(home() / "told")
        time.sleep(0.05)


threading.Thread(target=_obey, daemon=True).start()
"""


class Hand:
    """The presenter's, on the questions."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def do(self, *order: Any) -> None:
        with (self.server.home / "orders").open("a") as orders:
            orders.write(json.dumps(order) + "\n")

    def ask(self, id: str, text: str, kind: str, **bounds: Any) -> None:
        self.do("ask", id, text, bounds, kind)

    @property
    def told(self) -> Any:
        """What the server has of the answers."""
        return json.loads((self.server.home / "told").read_text())


@pytest.fixture(scope="module")
def lectern(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Loopscope with a short run, whose questions a test can ask."""
    folder = tmp_path_factory.mktemp("lectern")
    project = copy_project(folder)
    with (project / "app.py").open("a") as app:
        app.write(HAND)
    server = Server(folder, project=project, LOOPSCOPE_START="preset=bigram&speed=unlimited&max_steps=300")
    yield server
    server.end()


@pytest.fixture
def hand(lectern: Server) -> Iterator[Hand]:
    hand = Hand(lectern)
    yield hand
    hand.do("end")


@pytest.fixture
def phones(browser: Browser, lectern: Server, watched: Watched) -> Iterator[Callable[[], Page]]:
    """`phones()`: one more phone that watches, a browser of its own."""
    contexts = []

    def another() -> Page:
        contexts.append(browser.new_context(**PHONE))
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        watched.add(page)
        page.goto(lectern.url + "/watch")
        return page

    yield another
    for context in contexts:
        context.close()
    assert not watched.faults


def is_accessible(page: Page) -> bool:
    """Does axe-core, where it is installed, find nothing serious in the question's panel?"""
    if AXE.exists():
        page.evaluate(AXE.read_text(encoding="utf-8"))
        assert page.evaluate(FINDINGS.replace("axe.run(document", "axe.run('.ls-aside'")) == []
    return True


def option(page: Page, words: str) -> Locator:
    return page.locator(".ls-question").get_by_role("button", name=words, exact=True)


def test_a_number_a_curve_and_a_character_are_answered_by_hand_and_by_keys(
    lectern: Server, hand: Hand, new_tab: Callable[..., Stage], phones: Callable[[], Page]
) -> None:
    stage, phone = new_tab(lectern).open(), phones()
    hand.ask("lr", "Which learning rate?", "Number", low=1e-4, high=10.0, unit="a step", log=True)
    expect(phone.locator(".ls-question")).to_be_in_viewport()
    phone.get_by_role("slider", name="Which learning rate?").press("Home")
    expect(phone.locator(".ls-number-field")).to_have_value("0.0001")
    phone.locator(".ls-number-field").fill("99")
    phone.get_by_role("button", name="Answer").tap()
    expect(phone.get_by_text("Give a number from 0.0001 to 10.")).to_be_visible()
    phone.locator(".ls-number-field").fill("0.5")
    phone.locator(".ls-number-field").press("Enter")
    expect(phone.get_by_text("Your answer: 0.500 a step.")).to_be_visible()
    expect(stage.page.get_by_text("1 answer so far")).to_be_visible()
    expect(phone.get_by_text("so far")).to_have_count(0)
    stage.retried(lambda: hand.told.get("values") == [0.5])
    assert is_accessible(phone)
    hand.do("close")
    hand.do("reveal", 0.03, "It was measured.")
    for page in (phone, stage.page):
        expect(page.get_by_text("median 0.500")).to_be_visible()
        expect(page.get_by_text("✓ what came: 0.0300")).to_be_visible()
        expect(page.get_by_text("It was measured.")).to_be_visible()
    assert is_accessible(phone)

    hand.ask("draw", "Draw the loss.", "Drawing", first=0, last=300, low=1.0, high=5.0)
    pad = phone.locator(".ls-pad")
    place = pad.bounding_box()
    assert place
    mouse = phone.mouse
    mouse.move(place["x"] + 2, place["y"] + 20)
    mouse.down()
    mouse.move(place["x"] + place["width"] - 2, place["y"] + place["height"] - 20)
    mouse.up()
    phone.get_by_role("button", name="Answer").tap()
    expect(phone.get_by_text("Your curve is in.")).to_be_visible()
    assert is_accessible(phone)
    keys = stage.page.locator(".ls-pad")
    keys.press("ArrowUp")
    for _ in range(8):
        keys.press("ArrowRight")
    keys.press("ArrowDown")
    expect(keys).to_have_attribute("aria-valuetext", re.compile("step 300: loss"))
    stage.page.get_by_role("button", name="Answer").click()
    expect(stage.page.get_by_text("Your curve is in.")).to_be_visible()
    hand.do("close")
    expect(phone.get_by_text("2 curves")).to_be_visible()
    ghosts = "plot => plot._fullLayout.shapes.filter(({ type }) => type === 'path').length"
    stage.retried(lambda: stage.loss.locator(".js-plotly-plot").evaluate(ghosts) == 3)

    hand.ask("next", "Which comes next?", "Character", tokens=["\n", " ", "e", "<"])
    option(phone, "space").tap()
    expect(phone.get_by_text("Your answer: space.")).to_be_visible()
    assert is_accessible(phone)
    hand.do("close")
    hand.do("reveal", "e", "")
    expect(phone.locator(".ls-vote", has_text="space")).to_contain_text("your answer")
    expect(phone.locator(".ls-vote.ls-came")).to_contain_text("e✓ what came")
    wide = phone.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], "nothing sticks out at the side of a phone"
    hand.do("end")
    expect(phone.locator(".ls-question")).to_be_hidden()


@pytest.mark.thorough
def test_twelve_phones_go_from_the_question_to_the_reveal(
    lectern: Server, hand: Hand, new_tab: Callable[..., Stage], phones: Callable[[], Page]
) -> None:
    stage = new_tab(lectern).open()
    early = [phones() for _ in range(PHONES - 1)]
    hand.ask("climbs", "What does the loss do?", "Choice", options=OPTIONS)
    for number, phone in enumerate(early):
        option(phone, OPTIONS[number % 2]).tap()
        expect(option(phone, OPTIONS[number % 2])).to_have_attribute("aria-pressed", "true")
        assert (option(phone, OPTIONS[0]).bounding_box() or {})["height"] >= 48
    late = phones()
    option(late, "it stays").tap()
    expect(late.get_by_text("Your answer: it stays.")).to_be_visible()
    expect(stage.page.get_by_text("12 answers so far")).to_be_visible()
    stage.retried(lambda: hand.told == {"counts": [6, 5, 1]})

    option(early[0], "it stays").tap()  # changes its answer
    expect(option(early[0], OPTIONS[0])).to_have_attribute("aria-pressed", "false")
    expect(early[0].get_by_text("Your answer: it stays.")).to_be_visible()
    early[1].reload()
    expect(option(early[1], "it climbs")).to_have_attribute("aria-pressed", "true")
    expect(stage.page.get_by_text("12 answers so far")).to_be_visible()
    stage.retried(lambda: hand.told == {"counts": [5, 5, 2]})
    for phone in (early[0], late):
        expect(phone.get_by_text("so far")).to_have_count(0)
        assert phone.locator(".ls-vote").count() == 0, "nobody follows the crowd"

    hand.do("close")
    everybody = [stage.page, *early, late]
    for page in everybody:
        expect(page.locator(".ls-vote").nth(2)).to_contain_text(re.compile("17 %, 2"))
        expect(page.locator(".ls-option")).to_have_count(0)
    hand.do("hide", True)
    for page in everybody:
        expect(page.locator(".ls-vote-line")).to_have_count(0)
    hand.do("hide", False)
    hand.do("reveal", 1, "Every step overshoots.", {"0": "Small steps do fall."})
    for page in everybody:
        expect(page.locator(".ls-vote.ls-came")).to_contain_text("it climbs")
        expect(page.get_by_text("Every step overshoots.")).to_be_visible()
        assert page.evaluate(BOLD) == 0, "words of an option are no markup"
    expect(early[2].get_by_text("Small steps do fall. Every step overshoots.")).to_be_visible()
    expect(early[1].locator(".ls-vote.ls-came")).to_contain_text("your answer")
    early[3].reload()
    expect(early[3].locator(".ls-vote.ls-came")).to_contain_text("✓ what came")
