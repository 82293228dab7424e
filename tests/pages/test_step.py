"""The Step page as a session sees it: never empty, one token followed through nine stages, for every kind of model."""

from __future__ import annotations

import html
import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine.config import changed
from engine.errors import InputError
from engine.presets import preset
from engine.runs.run import Run
from engine.storage import reader
from engine.stream.status import State
from engine.training.trainer import STAGES, Trainer
from pages.views.shared import inspected_step
from pages.views.shared.inspected_step import StepCopy
from pages.views.step.stages.about import about
from pages.views.step.story import number, percent, signed
from tests.pages.test_train import SHELL, click, manager, words  # noqa: F401

MODELS = ["bigram", "gpt-tiny", "document-002-line", "document-002"]


@pytest.fixture
def page(manager) -> AppTest:  # noqa: F811
    """The Step page."""
    shown = AppTest.from_file(SHELL, default_timeout=60).run()
    shown.switch_page("step.py").run()
    assert not shown.exception
    return shown


def choose(page: AppTest, name: str) -> None:
    click(page, f"source_{name}")


def opens_tensors(page: AppTest) -> None:
    """Unfold the tensors and the code, as a press on both lines does."""
    page.session_state["step_tensors"] = page.session_state["step_code"] = True
    page.run()
    assert not page.exception


def copy_of(page: AppTest) -> StepCopy:
    return page.session_state["step_copy"]


def keys(page: AppTest) -> set[str | None]:
    return {button.key for button in page.button}


def told(page: AppTest) -> str:
    """The sentence about the token that is followed."""
    (sentence,) = [one.value for one in page.get("html") if 'class="ls-told"' in one.value]
    return html.unescape(sentence)


def cards(page: AppTest) -> list[str]:
    return [html.unescape(one.value) for one in page.get("html") if 'class="ls-card"' in one.value]


def figures(page: AppTest) -> dict[str, dict[str, Any]]:
    """The charts on the page, by title."""
    return {one.proto.alt: json.loads(one.proto.spec) for one in page.get("plotly_chart")}


def trains(manager, wait_until, **changes) -> Run:  # noqa: F811
    start = preset("bigram")
    run = manager.start(start.config, changed(start.settings, speed=100, max_steps=10**6, **changes))
    wait_until(lambda: run.step > 3)
    return run


def has_nine_stages(page: AppTest) -> bool:
    return {f"stage_{name}" for name in STAGES} <= keys(page) and len(cards(page)) == len(STAGES)


@pytest.mark.parametrize("name", MODELS)
def test_stages_on_the_page_are_ordinary_steps(page, name) -> None:
    choose(page, name)
    source = copy_of(page).source
    start = preset(name)
    plain = Trainer(source.config, start.settings, source.dataset, lambda _: None)
    for made in range(1, 2 * len(STAGES) + 1):
        click(page, "step_next")
        assert f"{(made - 1) % 9 + 1} {STAGES[(made - 1) % 9]}" in [title.value for title in page.subheader]
        plain.stage()
        shown = page.session_state["step_shown"]
        assert all(torch.equal(a, b) for a, b in zip(shown.trainer.parameters, plain.parameters, strict=True))
    click(page, "step_next")
    assert copy_of(page).moment.snapshot.step == plain.step == 2
    assert "before its first step, and 2 more made here on the copy" in words(page)
    click(page, "step_present")
    assert copy_of(page).walked == 0 and copy_of(page).moment.snapshot.step == 0


def test_step_is_never_empty_with_no_run_at_all(page, manager) -> None:  # noqa: F811
    assert manager.current is None and not manager.demos
    assert has_nine_stages(page) and "There is no run yet. A fresh bigram on" in words(page)
    assert {"step_pause", "step_finish", "step_resume", "step_follow_button", "step_previous"}.isdisjoint(keys(page))


def test_step_is_never_empty_while_a_run_trains(page, manager, wait_until) -> None:  # noqa: F811
    run = trains(manager, wait_until)
    page.run()
    assert has_nine_stages(page) and run.state is State.RUNNING
    step = copy_of(page).moment.snapshot.step
    assert step > 3 and f"as it was after step {step:,}." in words(page)
    for made in range(1, len(STAGES) + 1):
        click(page, "step_next")
        assert copy_of(page).moment.snapshot.step == step, "it stays until somebody asks"
        assert page.session_state["step_stage"] == made
    wait_until(lambda: run.step > step + 5)
    click(page, "step_present")
    assert copy_of(page).moment.snapshot.step > step + 5 and page.session_state["step_stage"] == len(STAGES)
    assert run.state is State.RUNNING and run.stage == 0


def test_the_page_opened_again_shows_the_present_step(page, manager, wait_until) -> None:  # noqa: F811
    run = trains(manager, wait_until)
    page.run()
    step = copy_of(page).moment.snapshot.step
    page.switch_page("glossary.py").run()
    wait_until(lambda: run.step > step + 5)
    page.switch_page("step.py").run()
    assert copy_of(page).moment.snapshot.step > step + 5


def test_following_takes_a_new_copy_and_stops_when_asked(page, manager, wait_until) -> None:  # noqa: F811
    run = trains(manager, wait_until)
    page.run()
    step = copy_of(page).moment.snapshot.step
    wait_until(lambda: run.step > step)
    click(page, "step_follow_button")
    assert copy_of(page).moment.snapshot.step > step and run.state is State.RUNNING
    assert page.button(key="step_follow_button").label == "Stop following"
    click(page, "step_follow_button")
    assert page.button(key="step_follow_button").label == "Follow the run"


def test_the_room_s_run_is_paused_and_stepped_by_asking_only(page, manager, wait_until) -> None:  # noqa: F811
    run = trains(manager, wait_until)
    page.run()
    click(page, "step_pause")
    assert run.state is State.PAUSED and has_nine_stages(page)
    step = run.step
    assert copy_of(page).moment.snapshot.step == step
    for _ in range(len(STAGES) + 2):
        click(page, "step_next")
    assert run.step == step and run.stage == 0, "the copy moves, the run does not"
    click(page, "step_finish")
    wait_until(lambda: run.step == step + 1 and run.state is State.PAUSED)
    page.run()
    assert copy_of(page).moment.snapshot.step == step + 1 and copy_of(page).walked == 0
    click(page, "step_resume")
    assert run.state is State.RUNNING


def test_step_is_never_empty_after_a_run_is_done(page, manager, wait_until) -> None:  # noqa: F811
    start = preset("document-002")
    run = manager.start(start.config, changed(start.settings, max_steps=5, speed="unlimited"))
    wait_until(lambda: run.state is State.DONE)
    page.run()
    assert has_nine_stages(page) and copy_of(page).moment.snapshot.step == 5
    click(page, "step_next")
    assert not any(button.disabled for button in page.button if button.key and button.key.startswith("step_"))
    assert {"step_pause", "step_finish", "step_resume"}.isdisjoint(keys(page))


@pytest.mark.parametrize("name", ["document-002-line", "bigram"])
def test_step_is_never_empty_after_a_divergence(page, manager, wait_until, name) -> None:  # noqa: F811
    start = preset(name)
    run = manager.start(
        start.config, changed(start.settings, lr=1e7, weight_decay=0.1, max_steps=1000, speed="unlimited")
    )
    wait_until(lambda: run.state is State.DIVERGED)
    page.run()
    assert has_nine_stages(page) and "A copy of its last finite weights" in words(page)
    assert all(bool(t.isfinite().all()) for t in copy_of(page).moment.snapshot.weights.values())
    opens_tensors(page)
    for _ in STAGES:
        click(page, "step_next")


def test_step_is_never_empty_on_a_run_that_another_program_records(page, manager, monkeypatch) -> None:  # noqa: F811
    recorded = SimpleNamespace(config=None, dataset=None, title="my loop", id="abc", step=3, state="running")
    monkeypatch.setattr(type(manager), "watched", property(lambda _: recorded))
    page.run()
    assert has_nine_stages(page)
    assert "my loop trains in another program: its numbers come here, but not its model. A fresh bigram" in words(page)


def test_another_program_s_run_is_taken_apart_at_its_newest_snapshot(page, manager, wait_until, monkeypatch) -> None:  # noqa: F811
    run = trains(manager, wait_until)
    run.pause()
    manager.flush(run)
    told = {name: getattr(run, name) for name in ("id", "config", "dataset", "title", "step")}
    elsewhere = SimpleNamespace(**told, stored=reader.open_run(run.id), state="running")
    monkeypatch.setattr(type(manager), "watched", property(lambda _: elsewhere))
    page.run()
    assert has_nine_stages(page) and "belongs to another program. Its newest snapshot" in words(page)
    assert copy_of(page).source.id == run.id and copy_of(page).source.run is None
    assert {"step_pause", "step_finish", "step_resume"}.isdisjoint(keys(page))


def test_a_model_too_large_to_copy_leaves_the_stage_to_the_preset(page, manager, wait_until, monkeypatch) -> None:  # noqa: F811
    trains(manager, wait_until)
    monkeypatch.setattr(inspected_step, "MOST_PARAMETERS", 100)
    page.run()
    assert has_nine_stages(page) and "too heavy above 100. A fresh bigram" in words(page)


def test_a_run_that_does_not_answer_leaves_the_stage_to_the_preset(page, manager, wait_until, monkeypatch) -> None:  # noqa: F811
    run = trains(manager, wait_until)

    def busy(*_: object) -> None:
        raise InputError("the model did not answer within 10 s; a step takes long, try again")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(run, "paused_state", busy)
        page.run()
        assert has_nine_stages(page) and "The model did not answer within 10 s" in words(page)
    click(page, "step_present")
    assert copy_of(page).source.id == run.id


def test_a_run_paused_inside_a_step_opens_there(page, manager, wait_until) -> None:  # noqa: F811
    run = trains(manager, wait_until)
    run.pause()
    for _ in range(3):
        run.make_stage()
    run.paused_state()
    page.run()
    assert page.subheader[0].value == "3 loss"
    click(page, "step_finish")
    wait_until(lambda: run.stage == 0)


def test_a_step_that_another_makes_while_the_page_is_drawn_is_shown_by_the_next_drawing(
    page,
    manager,  # noqa: F811
    wait_until,
    monkeypatch,
) -> None:
    run = trains(manager, wait_until)
    run.pause()
    run.paused_state()
    ask = run.paused_state

    def step() -> None:
        goal = run.step + 1
        run.make_steps(1)
        wait_until(lambda: run.step == goal and run.state is State.PAUSED)

    def answered_late(*_):
        told = ask()
        step()
        return told

    step()
    with monkeypatch.context() as late:
        late.setattr(run, "paused_state", answered_late)
        page.run()
    page.run()  # the board asks for it: the stream tells of a newer step
    assert copy_of(page).moment.snapshot.step == run.step


def test_one_token_is_followed_through_all_nine_stages(page) -> None:
    whole = copy_of(page).whole
    click(page, "place_3_5")
    labels = copy_of(page).source.dataset.tokenizer.labels
    given, right = (labels[int(t[3, 5])] for t in (whole.inputs, whole.targets))
    found = whole.follow(3, 5)
    shown = " ".join(cards(page))
    for part in (
        f"{given} → {right}",
        f"{right} scores {number(found.score)}",
        percent(found.probability),
        number(found.surprise),
        signed(found.slope),
        signed(found.after - found.before),
        percent(found.new_probability),
    ):
        assert part in shown
    said = [told(page)]
    for _ in STAGES:
        click(page, "step_next")
        said.append(told(page))
    assert len(set(said)) == len(STAGES) + 1
    click(page, "place_3_6")
    assert len(cards(page)) == len(STAGES) and page.session_state["step_stage"] == len(STAGES)
    click(page, "another_window")
    assert [key for key in keys(page) if key and key.startswith("place_4_")]


@pytest.mark.parametrize("name", MODELS)
def test_the_sentences_name_no_document_and_every_number_is_there(page, name) -> None:
    choose(page, name)
    for _ in range(len(STAGES) + 1):
        assert "document" not in told(page) and "nan" not in told(page) and "None" not in " ".join(cards(page))
        assert not [caption.value for caption in page.caption if "line" in caption.value]
        click(page, "step_next")


def test_document_004_the_printed_loss_is_this_batch_s_before_its_update(page) -> None:
    opens_tensors(page)
    for _ in range(STAGES.index("observe") + 1):
        click(page, "step_next")
    source = copy_of(page).source
    plain = Trainer(source.config, preset("bigram").settings, source.dataset, lambda _: None)
    while plain.stages_done <= STAGES.index("update"):
        plain.stage()
    printed, batch = plain.loss.item(), (plain.inputs, plain.targets)
    with torch.no_grad():
        after = torch.nn.functional.cross_entropy(plain.model(batch[0])[0].flatten(0, 1), batch[1].flatten()).item()
    assert after < printed
    assert f"It prints {printed:.9g}" in words(page) and f"this batch costs {after:.9g}" in words(page)


def test_the_keys_are_bound_once(page) -> None:
    click(page, "step_next")
    bound = {button.key: button.proto.shortcut.lower() for button in page.button if button.proto.shortcut}
    assert bound == {"step_previous": "left", "step_next": "right", "present": "p"}


def test_no_verb_is_shown_that_cannot_act(page, manager, wait_until) -> None:  # noqa: F811
    for _ in range(len(STAGES) + 2):
        assert not [button.key for button in page.button if button.disabled]
        click(page, "step_next")
    trains(manager, wait_until)
    page.run()
    assert not [button.key for button in page.button if button.disabled]


def test_a_right_token_that_has_no_probability_left_has_a_loss_all_the_same(page, manager, wait_until) -> None:  # noqa: F811
    start = preset("bigram")
    run = manager.prepare(start.config, changed(start.settings, lr=1e6, weight_decay=0.1))
    run.make_steps(1)
    wait_until(lambda: run.step == 1 and run.state is State.PAUSED)
    page.run()
    opens_tensors(page)
    for _ in range(3):
        click(page, "step_next")
    assert "had probability 0: the loss there is" in words(page)


def test_another_parameter_and_weight_stay_chosen_through_the_stages(page) -> None:
    click(page, "source_gpt-tiny")
    opens_tensors(page)
    for _ in range(4):
        click(page, "step_next")
    (parameter,) = [one for one in page.selectbox if one.label == "parameter"]
    parameter.set_value("blocks.0.widen.weight").run()
    (row,) = [one for one in page.number_input if one.label == "row"]
    row.set_value(5).run()
    for stage in ("measure", "guard", "update", "observe"):
        click(page, "step_next")
        assert not page.exception, stage
    tables = " ".join(str(table.value) for table in page.table)
    assert "blocks.0.widen.weight[5," in tables


@pytest.mark.parametrize("tab", ["What if", "Small examples"])
def test_the_other_tabs_open(page, tab) -> None:
    click(page, f"tab_{tab.replace(' ', '_')}")
    assert not [button for button in page.button if button.key == "step_next"]
    assert len(page.selectbox) + len(page.button) > 0


def test_a_corpus_s_own_characters_stay_text(page, manager) -> None:  # noqa: F811
    manager.library.add_upload("marked.txt", b"<b>&amp; *x* $y$</b> " * 80)
    start = preset("bigram")
    (name,) = [entry.name for entry in manager.library.entries() if "marked" in entry.name]
    manager.prepare(changed(start.config, corpus=name), start.settings)
    page.run()
    opens_tensors(page)
    for _ in range(3):
        click(page, "step_next")
        figures = [one.proto.spec for one in page.get("plotly_chart")]
        assert figures
        assert not [spec for spec in figures if '"<"' in spec]
    assert not [one for one in page.markdown if "<b>" in one.value]
    assert not [one for one in page.get("html") if "<b>&" in one.value or "</b> <" in one.value]
    for button in page.button:
        if button.key.startswith("place_"):
            assert button.label in {"\\<", "\\>", "\\/", "\\&", "\\;", "\\*", "\\$", *"bampxy␣"}


@pytest.mark.parametrize("name", MODELS)
def test_each_layer_has_its_bar(page, name) -> None:
    choose(page, name)
    opens_tensors(page)
    click(page, "stage_measure")
    figure = figures(page)["Layer by layer"]
    (bars,) = figure["data"]
    source = copy_of(page).source
    layers = list(Trainer(source.config, preset(name).settings, source.dataset, lambda _: None).model.layers())
    (named,) = [axis for axis in "xy" if bars[axis] == layers]
    assert figure["layout"][f"{named}axis"]["type"] != "linear", "an axis of numbers has no place for a name"


def test_a_phone_has_room_for_what_is_written_on_a_chart(page) -> None:
    choose(page, "gpt-tiny")
    opens_tensors(page)
    for stage in STAGES[:4]:
        click(page, "step_next")
        for title, figure in figures(page).items():
            layout = figure["layout"]
            assert layout["margin"]["t"] >= 28, f"{stage}, {title}: the button stands above the chart"
            if layout["xaxis"].get("tickmode") == "array":
                assert len(layout["xaxis"]["tickvals"]) <= 8, f"{stage}, {title}"
    choose(page, "document-002")
    click(page, "stage_observe")
    (cells,) = figures(page)["What the update changed: Δw"]["data"]
    assert max(len(word) for row in cells["text"] for word in row) <= 7


def test_the_first_update_has_no_momentum_from_earlier_ones(page) -> None:
    choose(page, "bigram")
    opens_tensors(page)
    for first in (True, False):
        click(page, "stage_update")
        (said,) = [line for line in words(page).splitlines() if "That is plain SGD" in line]
        assert ("momentum" not in said) == first and "decay" in said
        click(page, "stage_reset")
        click(page, "step_next")


@pytest.mark.parametrize("name", ["document-002-line", "document-002"])
def test_a_small_model_is_told_nothing_of_what_it_lacks(name) -> None:
    told = [about(stage, preset(name).config) for stage in (None, *STAGES)]
    every = " ".join(text for words in told for text in (words.purpose, words.underneath))
    assert not [word for word in ("probabilities", "validation", "sample", "token") if word in every]
