"""The Step page as a session sees it: stages made by hand, looked back at, finished, for every kind of model."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine.config import changed
from engine.presets import preset
from engine.runs.run import Run
from engine.stream.status import State
from engine.training.state import take_snapshot
from engine.training.trainer import STAGES, Trainer
from pages.views.step.stages.about import about
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


def lane(manager) -> Run:  # noqa: F811
    return manager.demos["step"]


def weights(run: Run) -> list[torch.Tensor]:
    kept = run.paused_state().snapshot
    moments = [t for name in kept.weights for _, t in sorted(kept.optimizer.get(name, {}).items())]
    return [*kept.weights.values(), *moments]


def figures(page: AppTest) -> dict[str, dict[str, Any]]:
    """The charts on the page, by title."""
    return {one.proto.alt: json.loads(one.proto.spec) for one in page.get("plotly_chart")}


@pytest.mark.parametrize("name", MODELS)
def test_stages_on_the_page_are_ordinary_steps(page, manager, name) -> None:  # noqa: F811
    if name != "bigram":
        choose(page, name)
    run = lane(manager)
    assert run.config.preset == name
    for made in range(1, 2 * len(STAGES) + 1):
        click(page, "step_next")
        assert (run.step, run.stage) == (run.step, made % len(STAGES))
        assert f"{(made - 1) % 9 + 1} {STAGES[(made - 1) % 9]}" in [title.value for title in page.subheader]
    plain = Trainer(run.config, run.settings, run.dataset, lambda _: None)
    plain.advance()
    plain.advance()
    kept = take_snapshot(plain)
    moments = [t for name in kept.weights for _, t in sorted(kept.optimizer.get(name, {}).items())]
    assert run.step == 2
    assert all(torch.equal(a, b) for a, b in zip(weights(run), [*kept.weights.values(), *moments], strict=True))


def test_looking_back_leaves_the_run_where_it_is(page, manager) -> None:  # noqa: F811
    run = lane(manager)
    for _ in range(7):
        click(page, "step_next")
    before = [t.clone() for t in weights(run)]
    live = run.loop.trainer
    now = [p.detach().clone() for p in live.parameters]
    for stages in (6, 5, 4):
        click(page, "step_previous")
        assert page.subheader[0].value == f"{stages} {STAGES[stages - 1]}"
        assert any("the run itself stands after update" in caption.value for caption in page.caption)
    click(page, "rail_forward")
    assert page.subheader[0].value == "2 forward"
    assert (run.step, run.stage) == (1, 7)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(run), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(now, live.parameters, strict=True))
    for stages in range(3, 8):  # next goes forward in what is looked at, until it is the present again
        click(page, "step_next")
        assert page.subheader[0].value == f"{stages} {STAGES[stages - 1]}"
        assert run.stage == 7
    click(page, "step_next")
    assert run.stage == 8


def test_finishing_a_step_shows_it_to_its_end(page, manager) -> None:  # noqa: F811
    run = lane(manager)
    for _ in range(3):
        click(page, "step_next")
    click(page, "step_finish")
    assert (run.step, run.stage, run.state) == (1, 0, State.PAUSED)
    assert page.subheader[0].value == "9 reset"
    click(page, "step_finish")
    assert (run.step, run.stage) == (2, 0)
    assert page.subheader[0].value == "9 reset"
    click(page, "step_previous")
    assert page.subheader[0].value == "8 observe"
    plain = Trainer(run.config, run.settings, run.dataset, lambda _: None)
    plain.advance()
    plain.advance()
    kept = take_snapshot(plain)
    assert all(torch.equal(kept.weights[name], w) for name, w in run.paused_state().snapshot.weights.items())


def test_a_step_that_another_makes_while_the_page_is_drawn_is_shown_by_the_next_drawing(
    page,
    manager,  # noqa: F811
    wait_until,
    monkeypatch,
) -> None:
    run = lane(manager)
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
    assert page.session_state.step_base.moment.snapshot.step == run.step == 2


def test_document_004_the_printed_loss_is_this_batch_s_before_its_update(page, manager) -> None:  # noqa: F811
    run = lane(manager)
    for _ in range(STAGES.index("observe") + 1):
        click(page, "step_next")
    plain = Trainer(run.config, run.settings, run.dataset, lambda _: None)
    while plain.stages_done <= STAGES.index("update"):
        plain.stage()
    printed, batch = plain.loss.item(), (plain.inputs, plain.targets)
    with torch.no_grad():
        after = torch.nn.functional.cross_entropy(plain.model(batch[0])[0].flatten(0, 1), batch[1].flatten()).item()
    assert after < printed
    assert f"It prints {printed:.9g}" in words(page) and f"this batch costs {after:.9g}" in words(page)


def test_the_keys_are_bound_once(page) -> None:
    bound = {button.key: button.proto.shortcut.lower() for button in page.button if button.proto.shortcut}
    assert bound == {"step_previous": "left", "step_next": "right"}


def test_the_room_s_run_is_paused_by_asking_only(page, manager, wait_until) -> None:  # noqa: F811
    start = preset("bigram")
    run = manager.start(start.config, changed(start.settings, speed=100))
    wait_until(lambda: run.step > 3)
    page.run()
    click(page, "source_current")
    assert run.state is State.RUNNING
    assert not [button for button in page.button if button.key == "step_next"]
    click(page, "step_pause")
    assert run.state is State.PAUSED
    step = run.step
    assert page.subheader[0].value == "Before the step"
    click(page, "step_next")
    assert (run.step, run.stage) == (step, 1)


def test_a_run_that_is_done_says_so_and_can_begin_again(page, manager) -> None:  # noqa: F811
    click(page, "source_document-002")
    for _ in range(5):
        click(page, "step_finish")
    run = lane(manager)
    assert run.state is State.DONE
    assert "5 of 5 iterations are made. Begin again, or choose another run." in words(page)
    assert page.subheader[0].value == "9 reset"
    assert page.button(key="step_next").disabled
    click(page, "step_again")
    assert lane(manager) is not run
    assert page.subheader[0].value == "Before the step"


def test_a_model_too_large_to_copy_is_refused_in_one_sentence(page, manager, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(Run, "parameters", property(lambda _: 124_000_000, lambda *_: None), raising=False)
    page.run()
    assert "124,000,000 parameters" in words(page)
    assert not [button for button in page.button if button.key == "step_next"]


def test_a_diverged_step_is_opened_too(page, manager, wait_until) -> None:  # noqa: F811
    start = preset("document-002-line")
    run = manager.prepare_demo("step", start.config, changed(start.settings, lr=1e7))
    page.run()
    while run.state is not State.DIVERGED:
        click(page, "step_finish")
    assert "diverged" in words(page)
    click(page, "rail_update")
    assert "withheld" in words(page)
    click(page, "rail_guard")
    click(page, "rail_observe")


def test_a_right_token_that_has_no_probability_left_has_a_loss_all_the_same(page, manager) -> None:  # noqa: F811
    start = preset("bigram")
    manager.prepare_demo("step", start.config, changed(start.settings, lr=1e6, weight_decay=0.1))
    page.run()
    click(page, "step_finish")
    for _ in range(len(STAGES)):
        click(page, "step_next")
        if "3 loss" in [title.value for title in page.subheader]:
            assert "had probability 0: the loss there is" in words(page)


def test_another_parameter_and_weight_stay_chosen_through_the_stages(page, manager) -> None:  # noqa: F811
    click(page, "source_gpt-tiny")
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
    click(page, tab)
    assert not [button for button in page.button if button.key == "step_next"]
    assert len(page.selectbox) + len(page.button) > 0


def test_a_corpus_s_own_characters_stay_text(page, manager) -> None:  # noqa: F811
    manager.library.add_upload("marked.txt", b"<b>&amp; *x* $y$</b> " * 80)
    start = preset("bigram")
    (name,) = [entry.name for entry in manager.library.entries() if "marked" in entry.name]
    manager.prepare_demo("step", changed(start.config, corpus=name), start.settings)
    page.run()
    for _ in range(3):
        click(page, "step_next")
        figures = [one.proto.spec for one in page.get("plotly_chart")]
        assert figures
        assert not [spec for spec in figures if '"<"' in spec]
    assert not [one for one in page.markdown if "<b>" in one.value]


@pytest.mark.parametrize("name", MODELS)
def test_each_layer_has_its_bar(page, manager, name) -> None:  # noqa: F811
    choose(page, name)
    for _ in range(STAGES.index("measure") + 1):
        click(page, "step_next")
    figure = figures(page)["Layer by layer"]
    (bars,) = figure["data"]
    run = lane(manager)
    layers = list(Trainer(run.config, run.settings, run.dataset, lambda _: None).model.layers())
    (named,) = [axis for axis in "xy" if bars[axis] == layers]
    assert figure["layout"][f"{named}axis"]["type"] != "linear", "an axis of numbers has no place for a name"


def test_a_phone_has_room_for_what_is_written_on_a_chart(page) -> None:
    choose(page, "gpt-tiny")
    for stage in STAGES[:4]:
        click(page, "step_next")
        for title, figure in figures(page).items():
            layout = figure["layout"]
            assert layout["margin"]["t"] >= 28, f"{stage}, {title}: the button stands above the chart"
            if layout["xaxis"].get("tickmode") == "array":
                assert len(layout["xaxis"]["tickvals"]) <= 8, f"{stage}, {title}"
    choose(page, "document-002")
    for _ in range(STAGES.index("observe") + 1):
        click(page, "step_next")
    (cells,) = figures(page)["What the update changed: Δw"]["data"]
    assert max(len(word) for row in cells["text"] for word in row) <= 7


def test_the_first_update_has_no_momentum_from_earlier_ones(page) -> None:
    choose(page, "bigram")
    for first in (True, False):
        for _ in range(STAGES.index("update") + 1):
            click(page, "step_next")
        (said,) = [line for line in words(page).splitlines() if "That is plain SGD" in line]
        assert ("momentum" not in said) == first and "decay" in said
        for _ in range(len(STAGES) - STAGES.index("update") - 1):
            click(page, "step_next")


@pytest.mark.parametrize("name", ["document-002-line", "document-002"])
def test_a_small_model_is_told_nothing_of_what_it_lacks(name) -> None:
    told = [about(stage, preset(name).config) for stage in (None, *STAGES)]
    every = " ".join(text for words in told for text in (words.purpose, words.underneath))
    assert not [word for word in ("probabilities", "validation", "sample", "token") if word in every]
