"""An earlier moment, opened: Step, Inside and Embeddings work on it and say so, and "live" is one click away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine.config import changed
from engine.errors import InputError
from engine.models.base import LanguageModel
from engine.presets import preset
from engine.runs import forks, restored_state
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.storage import notes
from engine.stream.status import State
from engine.training.trainer import STAGES, Trainer
from pages.views.inside.inspected_model import STATE_KEY as LOOK
from pages.views.shared import scrubber
from pages.views.train import pin_note

VIEWS = ("Shapes", "Table", "Attention", "Generation", "Parameters", "Questions")


def click(page: AppTest, key: str) -> None:
    page.button(key=key).click().run()
    assert not page.exception


def words(page: AppTest) -> str:
    return "\n".join(text.value for text in page.text)


def keys(page: AppTest) -> set[str | None]:
    return {button.key for button in page.button}


@pytest.fixture
def trains(house: RunManager, wait_until: Callable[..., None]) -> Callable[[str], Run]:
    """`trains("bigram")`: a run of that preset that has passed step 60 and trains on."""

    def trains(name: str) -> Run:
        house.pump.start()
        start = preset(name)
        config = changed(start.config, device="cpu", observe_every=20)
        run = house.start(config, changed(start.settings, max_steps=10**6, speed=100))
        wait_until(lambda: run.step > 60, 60)
        return run

    return trains


@pytest.fixture
def at_41(visit, house: RunManager) -> Callable[[str], AppTest]:
    """`at_41("inside.py")`: that page in a session that has opened step 41."""

    def at_41(name: str) -> AppTest:
        page = visit(name)
        page.session_state[scrubber.STATE_KEY] = made = house.restore_step(41)
        assert made.wait(60) and made.error == ""
        page.run()
        assert not page.exception
        return page

    return at_41


def alone(run: Run, steps: int) -> Trainer:
    trainer = Trainer(run.config, run.first_settings, run.dataset, lambda _: None)
    for _ in range(steps):
        trainer.advance()
    return trainer


@pytest.mark.parametrize("name", ["bigram", "gpt-tiny"])
def test_inside_works_on_that_step_while_the_run_trains(trains, at_41, wait_until, name) -> None:
    run = trains(name)
    page = at_41("inside.py")
    assert "Step 41, past: made again from the snapshot of step 20." in words(page)
    weights = dict(alone(run, 41).model.named_parameters())
    for view in VIEWS:
        (control,) = [one for one in page.get("button_group") if one.key == "look"]
        control.set_value(view).run()
        assert not page.exception
        look = page.session_state[LOOK]
        assert look.step == 41 and "Refresh" not in {button.label for button in page.button}
        assert all(torch.equal(now, weights[each]) for each, now in look.model.named_parameters())
    assert run.state is State.RUNNING
    click(page, "past_live")
    assert page.session_state[LOOK].step > 60 and "past" not in words(page)
    assert f"The weights after step {page.session_state[LOOK].step:,}." in words(page)


def test_step_makes_the_step_after_it_again(trains, at_41) -> None:
    run = trains("bigram")
    page = at_41("step.py")
    assert "Step 41, past" in words(page) and run.state is State.RUNNING
    assert "as it was after step 41." in words(page)
    plain = alone(run, 41)
    for stage in STAGES:
        click(page, "step_next")
        assert page.subheader[0].value == f"{STAGES.index(stage) + 1} {stage}"
        plain.stage()
        copy = page.session_state["step_shown"].trainer
        assert all(torch.equal(a, b) for a, b in zip(copy.parameters, plain.parameters, strict=True))
    assert copy.recorder.loss == plain.recorder.loss
    click(page, "step_previous")
    click(page, "stage_forward")
    assert page.subheader[0].value == "2 forward"
    assert run.state is State.RUNNING and run.stage == 0
    assert not {"step_pause", "step_follow_button", "step_finish"} & keys(page)
    click(page, "past_live")
    assert "step_pause" in keys(page) and page.session_state["step_copy"].moment.snapshot.step > 60


def test_choosing_a_preset_leaves_the_past(trains, at_41) -> None:
    trains("bigram")
    page = at_41("step.py")
    click(page, "source_gpt-tiny")
    assert "past" not in words(page) and page.session_state["step_copy"].source.config.preset == "gpt-tiny"


def test_embeddings_look_at_that_step(trains, at_41) -> None:
    run = trains("bigram")
    page = at_41("embeddings.py")
    looked = page.session_state["looked"]
    assert looked.step == 41 and "weights of step 41" in words(page)
    model = alone(run, 41).model
    assert isinstance(model, LanguageModel) and torch.equal(looked.table, model.token_embedding.weight)
    assert page.button(key="again").disabled
    click(page, "past_live")
    assert page.session_state["looked"].step > 60 and not page.button(key="again").disabled


def test_what_is_cancelled_is_made_no_further(trains, visit, house, monkeypatch) -> None:
    trains("bigram")
    begun, gone_on = threading.Event(), threading.Event()

    def slow(trainer: Trainer, goal: int, turns: object, halt: Callable[[], bool]) -> None:
        begun.set()
        while not halt():
            gone_on.wait(0.01)

    monkeypatch.setattr(restored_state, "repeat_steps", slow)
    page = visit("inside.py")
    page.session_state[scrubber.STATE_KEY] = made = house.restore_step(41)
    assert begun.wait(60)
    page.run()
    assert page.button(key="past_live").label == "Cancel"
    click(page, "past_live")
    assert made.wait(5), "it goes on, beside the training, for nobody"
    assert "past" not in words(page)


def test_the_moment_goes_with_its_run(trains, at_41, house) -> None:
    trains("bigram")
    page = at_41("inside.py")
    house.reset(replace=True)
    page.run()
    assert not page.exception and "past" not in words(page)
    assert house.restored is not None and house.restored.run is house.previous


def test_what_could_not_be_opened_is_said_and_live_is_shown(trains, visit, house, monkeypatch) -> None:
    run = trains("bigram")

    def none(*_: object) -> None:
        raise InputError(f"run {run.id} has no snapshot at or before step 41; choose a later step")

    monkeypatch.setattr(forks, "nearest_snapshot", none)
    page = visit("inside.py")
    page.session_state[scrubber.STATE_KEY] = made = house.restore_step(41)
    assert made.wait(60)
    page.run()
    assert f"Run {run.id} has no snapshot at or before step 41; choose a later step." in words(page)
    assert page.session_state[LOOK].step > 60 and not page.exception


@pytest.mark.parametrize(
    "asked",
    [None, "open", {"verb": "open"}, {"verb": "open", "step": "41"}, {"verb": "open", "step": True},
     {"verb": "open", "step": 41, "run": "../x"}, {"verb": "rm", "step": 41}],
)  # fmt: skip
def test_what_another_script_sends_is_passed_over(trains, house, asked) -> None:
    trains("bigram")
    scrubber.handle_request(asked)
    assert house.restored is None


def test_train_forks_at_the_opened_step(trains, at_41, house) -> None:
    parent = trains("bigram")
    page = at_41("train.py")
    assert "Step 41, past" in words(page) and parent.state is State.RUNNING
    click(page, "past_fork")
    assert page.number_input(key="fork_step").value == 41
    page.number_input(key="fork_lr").set_value(0.5)
    click(page, "fork")
    fork = house.current
    assert (fork.parent, fork.step, fork.settings.lr) == ((parent.id, 41), 41, 0.5)
    assert "past" not in words(page), "the moment was the parent's"


def test_the_scrubber_s_words_open_and_fork(trains, house, tmp_path: Path) -> None:
    """As the board sends them; in a page of their own, since no browser is there."""
    run = trains("bigram")
    script = f"""
import streamlit as st
from pages.views.shared import scrubber
from pages.views.train import fork
def ask(label, key, verb, step):
    asked = {{"verb": verb, "step": step, "run": "{run.id}"}}
    st.button(label, key=key, on_click=scrubber.handle_request, args=(asked,))
ask("open", "o", "open", 41)
ask("far", "far", "open", 10**8)
ask("note", "n", "note", 38)
ask("fork", "f", "fork", 37)
for sentence in st.session_state.get("notices") or []:
    st.text(sentence)
"""
    page = AppTest.from_string(script, default_timeout=60).run()
    click(page, "o")
    assert house.restored is not None and house.restored is page.session_state[scrubber.STATE_KEY]
    assert house.restored.wait(60) and scrubber.describe(house.restored).startswith("Step 41, past")
    click(page, "f")
    assert page.session_state["forking"] == (37, "board")
    click(page, "n")
    assert page.session_state["pinning"] == (run.id, 38)
    click(page, "far")
    assert "step 100,000,000 is not possible; choose one from 0 to" in words(page)


def test_a_note_is_pinned_at_a_step_from_the_stage(trains, visit, house) -> None:
    run = trains("bigram")
    page = visit("train.py")
    page.session_state[pin_note.STATE_KEY] = run.id, 37
    page.run()
    page.text_area(key="note_words").set_value("   ")
    click(page, "pin")
    assert "an empty note is none; write a few words" in words(page)
    page.text_area(key="note_words").set_value("<b>here</b> it turns")
    click(page, "pin")
    assert run.store is not None
    assert [(note.step, note.text) for note in notes.read(run.store.folder).notes] == [(37, "<b>here</b> it turns")]
    assert not page.text_area
    page.session_state[pin_note.STATE_KEY] = run.id, 38
    house.reset(replace=True)
    page.run()
    assert not page.text_area, "a note of another run is asked for no longer"
