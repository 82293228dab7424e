"""The stage as a session sees it, without a browser: what the controls do to the engine, and the engine to them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from engine.config import DEFAULT_CORPUS
from engine.presets import preset
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.stream.status import State
from engine.text import gpt2
from engine.text.bpe import ByteTokenizer
from engine.training import device
from engine.training.trainer import Trainer
from pages.board import board as live_board
from pages.widgets import engine_room

SHELL = str(Path(__file__).resolve().parent.parent.parent / "pages" / "shell.py")


@pytest.fixture
def manager(house: RunManager) -> RunManager:
    """The process's manager, as pages see it."""
    return house


@pytest.fixture
def opened(manager: RunManager) -> Callable[..., AppTest]:
    """`opened(**query)`: the page, opened by that link; in the engine room, if it names no stage."""

    def open_page(**query: str) -> AppTest:
        page = AppTest.from_file(SHELL, default_timeout=60)
        query.setdefault("stage", "engine-room")
        for name, value in query.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception
        return page

    return open_page


def click(page: AppTest, key: str) -> None:
    """Press a button, by its key or by the words on it."""
    (button,) = [button for button in page.button if key in (button.key, button.label)]
    assert not button.disabled
    button.click().run()
    assert not page.exception


def widget(widgets: Any, name: str) -> Any:
    """The widget of a setting: its key is the name and a generation."""
    (found,) = [one for one in widgets if (one.key or "").rsplit("-", 1)[0] == name]
    return found


def words(page: AppTest) -> str:
    """Everything that stands on the page as plain text."""
    return "\n".join(text.value for text in page.text)


def labels(page: AppTest) -> set[str]:
    return {button.label for button in page.button}


def current(manager: RunManager) -> Run:
    assert manager.current is not None
    return manager.current


def test_the_board_knows_at_which_step_the_controls_were_drawn(
    opened: Callable[..., AppTest],
    manager: RunManager,
    wait_until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Drawn while a step by hand is under way they offer to pause: "paused" before it is not "paused" after it."""
    drawn: list[Any] = []
    monkeypatch.setattr(live_board, "_element", lambda **given: drawn.append(given["data"]["shown"]))
    page = opened(preset="bigram")
    for step in (1, 2):
        click(page, "one")
        wait_until(lambda step=step: current(manager).step == step and current(manager).state is State.PAUSED)
        page.run()
        assert (drawn[-1]["state"], drawn[-1]["at"]) == ("paused", f"{step}/0")


def disabled(page: AppTest, key: str) -> bool:
    return bool(page.button(key=key).disabled)


def training_threads() -> int:
    return sum(thread.name.startswith("training") for thread in threading.enumerate())


def test_before_the_first_start_there_is_one_thing_to_press_and_the_first_lesson_beside_it(
    opened: Callable[..., AppTest], manager: RunManager
) -> None:
    page = opened()
    assert page.button(key="play").label == "Start"
    assert page.button(key="play").proto.type == "primary"
    stands_out = [button.key for button in page.button if button.proto.type == "primary"]
    assert stands_out == ["play", "first_lesson", "start_these"], "the third is in the folded panel of a new run"
    assert all(disabled(page, key) for key in ("stop", "reset", "undo"))
    assert manager.current is None


def test_every_key_of_the_stage_is_bound_once(opened: Callable[..., AppTest]) -> None:
    bound = {button.key: button.proto.shortcut.lower() for button in opened().button if button.proto.shortcut}
    assert bound == {
        "play": "space",
        "one": "right",
        "reset": "backspace",
        "lr_up": "up",
        "lr_down": "down",
        "sample": "s",
        "present": "p",
    }


def test_start_pause_resume_stop(
    opened: Callable[..., AppTest], manager: RunManager, wait_until: Callable[..., None]
) -> None:
    page = opened(max_steps="1000000")
    click(page, "play")
    run = current(manager)
    wait_until(lambda: run.state is State.RUNNING and run.step > 3)
    page.run()
    assert page.button(key="play").label == "Pause"
    click(page, "play")
    wait_until(lambda: run.state is State.PAUSED)
    page.run()
    assert page.button(key="play").label == "Resume"
    click(page, "play")
    wait_until(lambda: run.state is State.RUNNING)
    page.run()
    click(page, "stop")
    wait_until(lambda: run.state is State.STOPPED)
    page.run()
    assert page.button(key="play").label == "Start"
    click(page, "Go on with this run")
    wait_until(lambda: run.state is State.RUNNING)
    assert current(manager) is run


def test_ten_fast_clicks_on_start_make_one_thread(opened: Callable[..., AppTest], manager: RunManager) -> None:
    before = training_threads()
    pages = [opened(speed="100") for _ in range(10)]  # on each of them the button still says Start
    for page in pages:
        click(page, "play")
    current(manager).copy_weights()  # every click has been taken by now
    assert current(manager).state is State.RUNNING, "the later clicks said Start, not Pause"
    assert training_threads() - before == 1
    assert manager.previous is None


def test_single_steps_make_exactly_as_many(
    opened: Callable[..., AppTest], manager: RunManager, wait_until: Callable[..., None]
) -> None:
    page = opened()
    click(page, "one")
    run = current(manager)
    wait_until(lambda: run.state is State.PAUSED)
    assert run.step == 1
    page.run()
    click(page, "ten")
    wait_until(lambda: run.state is State.PAUSED and run.step == 11)
    assert current(manager) is run


def test_a_link_sets_the_page_up(opened: Callable[..., AppTest], manager: RunManager, wait_until: Any) -> None:
    page = opened(preset="gpt-tiny", lr="0.004", max_steps="3", n_layer="1", seed="5", speed="1000")
    assert not words(page).count("ignored")
    assert widget(page.selectbox, "preset").value == "gpt-tiny"
    assert widget(page.number_input, "lr_number").value == 0.004
    assert widget(page.number_input, "seed").value == 5
    click(page, "play")
    run = current(manager)
    assert (run.config.model, run.config.n_layer, run.config.seed) == ("gpt", 1, 5)
    assert (run.settings.lr, run.settings.max_steps, run.settings.speed) == (0.004, 3, 1000)
    wait_until(lambda: run.state is State.DONE)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"lr": "fast"}, ("lr", "fast")),
        ({"lr": "-1"}, ("lr", "-1")),
        ({"preset": "<img src=x onerror=alert(1)>"}, ("<img src=x onerror=alert(1)>",)),
        ({"max_steps": "0"}, ("max_steps", "0")),
        ({"colour": "$a$ :red[x]"}, ("colour", "$a$ :red[x]")),
        ({"block_size": "9999999"}, ("block_size", "9999999")),
        ({"speed": "77"}, ("speed", "77")),
    ],
)
def test_a_wrong_value_in_a_link_is_named_and_ignored(
    opened: Callable[..., AppTest], query: dict[str, str], named: tuple[str, ...]
) -> None:
    page = opened(**query)
    (notice,) = [text.value for text in page.text if named[-1] in text.value]
    assert all(name in notice for name in named)
    assert widget(page.number_input, "lr_number").value == 0.001
    click(page, "close_notices")
    assert notice not in words(page)


def test_a_link_to_a_text_that_is_not_here_is_ignored_with_a_notice(
    opened: Callable[..., AppTest], manager: RunManager
) -> None:
    page = opened(corpus="nowhere")
    assert "'nowhere' was ignored" in words(page)
    click(page, "play")
    assert manager.current is not None
    assert manager.current.config.corpus == DEFAULT_CORPUS


def test_the_text_named_by_a_link_is_never_a_path(opened: Callable[..., AppTest], manager: RunManager) -> None:
    page = opened(corpus="../../app.py")
    assert "'../../app.py' was ignored" in words(page)
    click(page, "play")
    assert manager.current is not None
    assert manager.current.config.corpus == DEFAULT_CORPUS


def test_a_knob_turns_the_running_loop_and_leaves_an_event(
    opened: Callable[..., AppTest], manager: RunManager, wait_until: Callable[..., None]
) -> None:
    page = opened(speed="100")
    click(page, "play")
    run = current(manager)
    page.run()
    widget(page.number_input, "lr_number").set_value(0.25).run()
    assert run.settings.lr == 0.25
    wait_until(lambda: run.loop.trainer is not None and run.loop.trainer.settings.lr == 0.25)
    manager.pump.drain()
    assert [event.text for event in run.history.events if event.name == "lr"] == ["lr 0.001 → 0.25"]
    widget(page.select_slider, "lr_slider").set_value(0.5).run()
    assert run.settings.lr == 0.5
    click(page, "lr_down")
    assert run.settings.lr == 0.2
    click(page, "lr_up")
    assert run.settings.lr == 0.5
    widget(page.number_input, "batch_size").set_value(7).run()
    widget(page.number_input, "grad_clip").set_value(1.0).run()
    widget(page.number_input, "max_steps_number").set_value(777).run()
    assert (run.settings.batch_size, run.settings.grad_clip, run.settings.max_steps) == (7, 1.0, 777)
    assert current(manager) is run


def test_a_knob_before_the_start_is_for_the_next_run(opened: Callable[..., AppTest], manager: RunManager) -> None:
    page = opened()
    for lr, format_ in ((1e7, "%.2e"), (1.23e-5, "%.2e"), (0.0003, "%.3g")):
        widget(page.number_input, "lr_number").set_value(lr).run()
        assert widget(page.number_input, "lr_number").proto.format == format_, "none is cut in the presenter's field"
    widget(page.number_input, "lr_number").set_value(0.02).run()
    assert manager.current is None
    click(page, "play")
    assert current(manager).settings.lr == 0.02


def test_iterations_may_be_raised_when_it_is_done(
    opened: Callable[..., AppTest], manager: RunManager, wait_until: Callable[..., None]
) -> None:
    page = opened(max_steps="5", speed="unlimited")
    click(page, "play")
    run = current(manager)
    wait_until(lambda: run.state is State.DONE)
    page.run()
    widget(page.number_input, "max_steps_number").set_value(9).run()
    wait_until(lambda: run.state is State.DONE and run.step == 9)
    assert current(manager) is run


def test_a_new_start_over_a_run_asks_first(opened: Callable[..., AppTest], manager: RunManager) -> None:
    page = opened(speed="100")
    click(page, "play")
    first = current(manager)
    widget(page.number_input, "seed").set_value(3).run()
    click(page, "Start a new run with these")
    assert first.title in words(page)
    assert not disabled(page, "play"), "the question is in the panel, which may be closed"
    click(page, "Cancel")
    assert current(manager) is first
    assert first.alive
    click(page, "Start a new run with these")
    click(page, "Stop it")
    assert current(manager) is not first
    assert current(manager).config.seed == 3
    assert manager.previous is first
    assert not labels(page) & {"Stop it", "Cancel"}


def test_reset_asks_goes_back_to_the_same_start_and_can_be_undone(
    opened: Callable[..., AppTest], manager: RunManager, wait_until: Callable[..., None]
) -> None:
    page = opened()
    click(page, "ten")
    first = current(manager)
    wait_until(lambda: first.state is State.PAUSED)
    page.run()
    click(page, "reset")
    assert current(manager) is first
    assert all(disabled(page, key) for key in ("play", "one", "reset")), "no key acts behind the question"
    click(page, "Stop it")
    again = current(manager)
    assert again is not first
    assert (again.step, again.state, again.config) == (0, State.READY, first.config)
    page.run()
    click(page, "ten")
    wait_until(lambda: again.state is State.PAUSED)
    manager.pump.drain()
    curves = [run.history.series["train/loss"].view(100)[1].tolist() for run in (first, again)]
    assert curves[0] == curves[1]
    page.run()
    click(page, "undo")
    assert current(manager) is first


def test_a_change_in_one_session_is_on_show_in_another(opened: Callable[..., AppTest], manager: RunManager) -> None:
    mine = opened(speed="100")
    click(mine, "play")
    yours = opened()
    assert yours.button(key="play").label == "Pause"
    widget(mine.number_input, "lr_number").set_value(0.03).run()
    yours.run()
    assert widget(yours.number_input, "lr_number").value == 0.03
    assert widget(yours.select_slider, "lr_slider").value == 0.03


def test_what_one_session_prepares_is_its_own(opened: Callable[..., AppTest]) -> None:
    mine, yours = opened(), opened()
    widget(mine.selectbox, "preset").set_value("gpt-tiny").run()
    yours.run()
    assert widget(mine.selectbox, "model").value == "gpt"
    assert widget(yours.selectbox, "model").value == "bigram"


def test_preset_brings_all_of_its_settings(opened: Callable[..., AppTest], manager: RunManager) -> None:
    page = opened(lr="0.5")
    widget(page.selectbox, "preset").set_value("document-004").run()
    assert widget(page.number_input, "max_steps_number").value == 100
    assert widget(page.number_input, "lr_number").value == 0.001
    click(page, "play")
    assert current(manager).settings.speed == 10


def test_too_long_a_context_is_refused_in_one_sentence(opened: Callable[..., AppTest], manager: RunManager) -> None:
    page = opened(corpus="ferry-notebook", block_size="4000")
    click(page, "play")
    assert manager.current is None
    (sentence,) = {text.value for text in page.text if "4000" in text.value}
    assert "block_size" in sentence


def test_a_sample_by_hand_is_shown_to_everyone(
    opened: Callable[..., AppTest], manager: RunManager, wait_until: Callable[..., None]
) -> None:
    page = opened()
    click(page, "sample")
    assert "press Start first" in words(page)
    click(page, "close_notices")
    click(page, "one")
    run = current(manager)
    wait_until(lambda: run.state is State.PAUSED)
    page.text_input(key="prompt").set_value("The lamp").run()
    page.number_input(key="max_new_tokens").set_value(11).run()
    click(page, "sample")
    manager.pump.drain()
    sample = run.history.samples[-1]
    assert sample.text.startswith("The lamp")
    assert len(sample.text) == len("The lamp") + 11
    assert len(sample.confidence) == len(sample.text)


def test_characters_outside_the_vocabulary_are_named(
    opened: Callable[..., AppTest], manager: RunManager, wait_until: Callable[..., None]
) -> None:
    page = opened()
    click(page, "one")
    wait_until(lambda: current(manager).state is State.PAUSED)
    page.text_input(key="prompt").set_value("a ж ☃").run()
    click(page, "sample")
    assert "ж" in words(page)
    assert "☃" in words(page)


def test_presenter_mode_keeps_transport_and_learning_rate(opened: Callable[..., AppTest]) -> None:
    page = opened()
    click(page, "present")
    assert {button.key for button in page.button} >= {"play", "one", "reset", "lr_up", "lr_down", "present"}
    assert widget(page.number_input, "lr_number").value == 0.001
    assert widget(page.selectbox, "speed_list").value == 100
    assert "preset" not in {box.key for box in page.selectbox}
    click(page, "present")
    assert widget(page.selectbox, "preset").value == "bigram"


def test_a_failed_run_lets_the_next_one_start(
    opened: Callable[..., AppTest],
    manager: RunManager,
    wait_until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = opened(speed="unlimited", max_steps="1000000")
    forward = Trainer.forward

    def fail(trainer: Trainer) -> None:
        if trainer.step >= 5:
            raise RuntimeError("a cable was pulled")
        forward(trainer)

    monkeypatch.setattr(Trainer, "forward", fail)
    click(page, "play")
    failed = current(manager)
    wait_until(lambda: failed.state is State.FAILED)
    assert "a cable was pulled" in failed.message
    assert "Traceback" in (failed.error or "")
    monkeypatch.setattr(Trainer, "forward", forward)
    page.run()
    assert page.button(key="play").label == "Start"
    click(page, "play")
    assert current(manager) is not failed
    wait_until(lambda: current(manager).step > 5)


def test_the_estimate_is_there_before_the_start_and_follows_the_speed(opened: Callable[..., AppTest]) -> None:
    page = opened(speed="100", max_steps="60000")
    assert "60,000 steps take about 10 min here." in [caption.value for caption in page.caption]


def test_epochs_say_how_many_iterations_there_will_be(
    opened: Callable[..., AppTest], manager: RunManager, wait_until: Callable[..., None]
) -> None:
    page = opened(preset="simple")
    steps_per_epoch = manager.datasets.load_corpus(preset("simple").config).steps_per_epoch(32, 8)
    assert widget(page.number_input, "max_steps_number").value == 70 * steps_per_epoch
    widget(page.number_input, "epochs").set_value(2).run()
    assert widget(page.number_input, "max_steps_number").value == 2 * steps_per_epoch
    widget(page.number_input, "batch_size").set_value(16).run()
    assert widget(page.number_input, "max_steps_number").value == 2 * (steps_per_epoch // 2)
    widget(page.number_input, "epochs").set_value(4).run()
    widget(page.number_input, "max_steps_number").set_value(3).run()
    click(page, "play")
    wait_until(lambda: current(manager).state is State.DONE, 120)
    assert (current(manager).step, current(manager).config.epochs) == (3, 4), "fewer iterations are kept"


def test_a_tokenizer_is_chosen_for_the_next_run(opened: Callable[..., AppTest], manager: RunManager) -> None:
    page = opened(preset="gpt-tiny")
    assert not [one for one in page.number_input if (one.key or "").startswith("vocab_size")]
    widget(page.selectbox, "tokenizer").set_value("bpe").run()
    widget(page.number_input, "vocab_size").set_value(300).run()
    click(page, "play")
    run = current(manager)
    assert run.corpus.vocab_size == 300 and run.config.tokenizer == "bpe"
    run.stop()
    widget(page.selectbox, "tokenizer").set_value("gpt2").run()
    assert "Fetch GPT-2's tokenizer (1.5 MB)" in labels(page)


def test_document_001_says_what_it_lacks_and_starts_when_it_is_there(
    opened: Callable[..., AppTest], manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(preset="document-001")
    assert "The Verdict is not here: fetch it under New run." in words(page)
    assert "GPT-2's tokenizer is not on this machine yet" in words(page)
    click(page, "play")
    assert manager.current is None
    monkeypatch.setattr(gpt2, "tokenizer", lambda home: ByteTokenizer.train_on("", 256))
    page.run()
    captions = " ".join(caption.value for caption in page.caption)
    assert "parameters, about" in captions and "GB of memory." in captions


def test_a_run_that_does_not_fit_is_refused_on_the_page(
    opened: Callable[..., AppTest], manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(device="cpu")
    monkeypatch.setattr(device.psutil, "virtual_memory", lambda: SimpleNamespace(available=10))
    click(page, "play")
    assert manager.current is None
    assert "end other programs, or make batch_size (now 32)" in words(page)


def test_the_first_visit_is_to_the_beginners_stage_and_the_switch_opens_the_engine_room(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(live_board, "_element", lambda **options: sent.append(options["data"]))
    page = AppTest.from_file(SHELL, default_timeout=60).run()
    keys = {button.key for button in page.button}
    assert {"play", "first_lesson", "one", "reset", "lr_up"} <= keys
    assert not {"fork_now", "stop", "sample"} & keys
    assert not [box for box in page.selectbox if (box.key or "").startswith("preset")]
    assert sent[-1]["engineRoom"] is False and sent[-1]["verbs"] == []
    page.toggle(key="engine_room_switch").set_value(True).run()
    assert not page.exception
    assert {"play", "fork_now", "stop", "sample"} <= {button.key for button in page.button}
    assert sent[-1]["engineRoom"] is True and sent[-1]["verbs"] == ["open", "fork", "note"]
    page.switch_page("step.py").run()
    page.switch_page("train.py").run()
    assert page.toggle(key="engine_room_switch").value is True
    page.toggle(key="engine_room_switch").set_value(False).run()
    assert sent[-1]["engineRoom"] is False


@pytest.mark.parametrize(
    ("link", "remembered", "opens"),
    [
        (None, None, False),
        (None, "beginner", False),
        (None, "engine-room", True),
        (None, "nonsense", False),
        ("beginner", "engine-room", False),
        ("engine-room", None, True),
        ("engine-room", "beginner", True),
        ("nonsense", "engine-room", True),
    ],
)
def test_a_link_carries_the_stage_and_the_browser_remembers_it(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch, link: str | None, remembered: str | None, opens: bool
) -> None:
    cookies = {} if remembered is None else {"loopscope_stage": remembered}
    monkeypatch.setattr(type(engine_room.st.context), "cookies", cookies)
    page = AppTest.from_file(SHELL, default_timeout=60)
    if link is not None:
        page.query_params["stage"] = link
    page.run()
    assert page.toggle(key="engine_room_switch").value is opens
    assert "ignored" not in words(page) and not page.session_state.planned, "it sets up nothing of a run"
