"""What a link or a button sets up is said on the stage and started by nobody but the person who reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest

from engine import link
from engine.config import LiveSettings, RunConfig, changed
from engine.paths import home
from engine.presets import preset
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.storage.writer import RunWriter
from engine.stream.messages import Event
from engine.stream.status import State
from pages.board import board as live_board
from tests.conftest import ROOT
from tests.tracking.test_external_run_watcher import NAME, START, rows

Wait = Callable[..., None]
LINK = "preset=bigram&lr=10"
ASKED = "bigram, lr 10 is set up. Start it?"
STATES = ["running", "paused", "done", "watched"]


def opened(query: str = "") -> AppTest:
    page = AppTest.from_file(str(ROOT / "pages" / "shell.py"), default_timeout=60)
    page.session_state.engine_room = True
    for name, value in parse_qsl(query):
        page.query_params[name] = value
    page.run()
    assert not page.exception
    return page


def click(page: AppTest, key: str) -> None:
    (button,) = [button for button in page.button if key in (button.key, button.label)]
    assert not button.disabled
    button.click().run()
    assert not page.exception


def words(page: AppTest) -> str:
    return "\n".join(str(element.value) for element in (*page.text, *page.caption))


def widget(widgets: object, name: str):
    (found,) = [one for one in widgets if (one.key or "").rsplit("-", 1)[0] == name]
    return found


@pytest.fixture
def stage(house: RunManager, wait_until: Wait) -> Iterator[Callable[[str], Run | None]]:
    """`stage(state)`: bring something on the stage that is in that state; returns this server's own run, if any."""
    stores: list[RunWriter] = []

    def bring(state: str) -> Run | None:
        if state == "watched":
            store = RunWriter(home() / "runs" / NAME, START)
            stores.append(store)
            store.put([Event(0, "started", "started"), *rows(1, 100)])
            assert store.flush()
            house.external_runs.start()
            wait_until(lambda: house.external_runs.live())
            house.watch(NAME)
            return None
        start = preset("gpt-tiny" if state != "done" else "bigram")
        steps, speed = (5, "unlimited") if state == "done" else (10**6, 100)
        run = house.start(start.config, changed(start.settings, max_steps=steps, speed=speed))
        wait_until(lambda: run.step >= 1)
        if state == "paused":
            run.pause()
        wait_until(lambda: run.state == state)
        return run

    yield bring
    house.external_runs.stop()
    for store in stores:
        store.close()


@pytest.mark.parametrize("state", STATES)
def test_a_link_opened_over_a_run_asks_and_starts_nothing_by_itself(
    stage, house: RunManager, wait_until: Wait, state: str
) -> None:
    run = stage(state)
    page = opened(LINK)
    assert ASKED in words(page)
    assert (house.current, house.watched is not None) == (run, state == "watched")
    assert run is None or run.state == state, "nothing has started, and nothing has stopped"
    page.run()
    assert ASKED in words(page), "it stays until somebody answers"
    if state in ("running", "paused"):
        assert "The run on the stage then stops; undo brings it back." in words(page)
    click(page, "set_up_start")
    made = house.current
    assert made is not None and made is not run and house.watched is None
    assert (made.config.preset, made.settings.lr) == ("bigram", 10.0)
    if run is not None:
        assert house.previous is run
        wait_until(lambda: not run.alive)
    assert "is set up" not in words(page)


@pytest.mark.parametrize("state", STATES)
def test_keep_this_one_leaves_all_as_it_was(stage, house: RunManager, state: str) -> None:
    run = stage(state)
    page = opened(LINK)
    click(page, "set_up_keep")
    assert "is set up" not in words(page)
    assert (house.current, house.watched is not None) == (run, state == "watched")
    if run is not None:
        assert run.state == state
        assert widget(page.number_input, "lr_number").value == run.settings.lr


@pytest.mark.parametrize(("state", "label"), [("running", "Pause"), ("paused", "Resume"), ("done", "Start")])
def test_space_does_what_the_big_button_says_while_a_link_is_set_up(
    stage, house: RunManager, wait_until: Wait, state: str, label: str
) -> None:
    run = stage(state)
    page = opened(LINK)
    big = page.button(key="play")
    assert (big.label, big.proto.shortcut.lower(), big.disabled) == (label, "space", False)
    click(page, "play")
    if state == "done":
        assert house.current is not run and house.current is not None and house.current.settings.lr == 10.0
        return
    expected = State.PAUSED if state == "running" else State.RUNNING
    wait_until(lambda: run.state is expected)
    assert house.current is run
    page.run()
    assert ASKED in words(page), "what was set up is still there"


def test_a_link_opened_again_after_it_has_started_asks_nothing(house: RunManager, wait_until: Wait) -> None:
    page = opened(LINK + "&speed=100")
    click(page, "play")
    run = house.current
    assert run is not None
    wait_until(lambda: run.step > 1)
    widget(page.number_input, "lr_number").set_value(0.5).run()
    again = opened(LINK + "&speed=100")
    assert "is set up" not in words(again)
    assert widget(again.number_input, "lr_number").value == 0.5


@pytest.mark.parametrize("query", ["token=abc", "look=Attention"])
def test_an_address_that_names_no_experiment_sets_nothing_up(stage, query: str) -> None:
    stage("running")
    assert "is set up" not in words(opened(query))


def test_a_race_that_trains_is_held_and_the_card_says_so(house: RunManager, stage, wait_until: Wait) -> None:
    stage("done")
    bigram = preset("bigram")
    race = house.start_race(bigram.config, changed(bigram.settings, max_steps=10**6), [{"lr": 0.1}, {"lr": 0.2}])
    wait_until(lambda: race.state is State.RUNNING)
    page = opened(LINK)
    assert "The race is held." in words(page)
    click(page, "set_up_start")
    wait_until(lambda: race.state is State.PAUSED)


# ---------------------------------------------------------------- in words


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("preset=bigram", "bigram"),
        ("preset=bigram&lr=10", "bigram, lr 10"),
        ("preset=bigram&lr=10&speed=1000", "bigram, lr 10"),
        ("preset=bigram&speed=unlimited", "bigram, speed max"),
        ("preset=bigram&speed=1000", "bigram, 1,000 steps/s"),
        ("preset=bigram&optimizer=sgd&lr=0.001&weight_decay=0", "bigram, SGD, weight decay 0"),
        ("preset=gpt-tiny&max_steps=1000", "gpt-tiny, 1,000 steps"),
        ("preset=bigram&corpus=ferry-notebook&lr=0.01", "bigram on the text, lr 0.01"),
        ("preset=gpt-tiny&seed=5&n_layer=1&lr=0.004&grad_clip=1", "gpt-tiny, lr 0.004, n layer 1, seed 5 and 1 more"),
        ("preset=simple&epochs=off", "simple, epochs off"),
        ("preset=bigram&model=gpt", "gpt"),
        ("preset=document-002-line&lr=0.19", "document-002-line, lr 0.19"),
    ],
)
def test_the_words_name_what_differs(query: str, told: str) -> None:
    made, ignored = link.read(dict(parse_qsl(query)))
    assert not ignored
    assert link.describe(made.config, made.settings, "the text") == told


def test_the_settings_of_a_preset_itself_are_its_name() -> None:
    assert link.describe(RunConfig(), LiveSettings(speed=100), "any") == "bigram"


# ---------------------------------------------------------------- by a button


def test_what_is_set_up_before_the_first_run_is_said_over_the_example(
    house: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    hints: list[str | None] = []
    monkeypatch.setattr(live_board, "_element", lambda **given: hints.append(given["data"]["hint"]))
    opened()
    assert hints[-1] is None
    opened("preset=bigram&lr=10&max_steps=3000")
    assert hints[-1] is not None and hints[-1].startswith("bigram, lr 10, 3,000 steps is set up. Press Start.")
    assert house.current is None


def test_train_on_this_text_says_so_on_the_stage(stage, house: RunManager) -> None:
    stage("done")
    page = opened()
    page.switch_page("data.py").run()
    page.selectbox[0].set_value("ferry-notebook").run()
    click(page, "train_on")
    title = house.library.entry("ferry-notebook").title
    assert f"bigram on {title}" in words(page) and "is set up. Start it?" in words(page)
    click(page, "set_up_start")
    assert house.current.config.corpus == "ferry-notebook"


def test_another_preset_keeps_the_chosen_text(house: RunManager) -> None:
    page = opened()
    widget(page.selectbox, "corpus").set_value("ferry-notebook").run()
    widget(page.selectbox, "preset").set_value("gpt-tiny").run()
    assert widget(page.selectbox, "corpus").value == "ferry-notebook"
    assert not page.session_state.notices
    widget(page.selectbox, "preset").set_value("document-002-line").run()
    title = house.library.entry("ferry-notebook").title
    assert f"document-002-line learns from numbers, not from a text: {title} is set aside." in words(page)


def test_a_preset_with_a_text_of_its_own_says_that_the_chosen_one_stays(house: RunManager) -> None:
    page = opened("corpus=python-docs")
    widget(page.selectbox, "preset").set_value("simple").run()
    assert widget(page.selectbox, "corpus").value == "python-docs"
    said = f"simple's own is {house.library.entry('ferry-notebook').title}."
    assert said in words(page)


def test_a_preset_brings_its_own_text_where_nobody_has_chosen_one() -> None:
    page = opened()
    widget(page.selectbox, "preset").set_value("simple").run()
    assert widget(page.selectbox, "corpus").value == "ferry-notebook"
    widget(page.selectbox, "preset").set_value("bigram").run()
    assert widget(page.selectbox, "corpus").value == "lamplighters"
    assert not page.session_state.notices


def test_new_run_has_a_start_before_the_first_run(house: RunManager) -> None:
    page = opened()
    widget(page.number_input, "seed").set_value(3).run()
    assert "Set up: bigram, seed 3." in words(page)
    assert page.button(key="start_these").label == "Start with these"
    click(page, "start_these")
    assert house.current is not None and house.current.config.seed == 3


def test_new_run_lists_apples_gpu_only_where_it_is_present(house: RunManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert widget(opened().selectbox, "device").options == ["auto", "cpu"]
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    page = opened()
    assert widget(page.selectbox, "device").options == ["auto", "cpu", "mps"]
    assert widget(page.selectbox, "device").value == "auto"
