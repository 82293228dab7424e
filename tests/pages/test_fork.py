"""Forking and the lesson of a divergence, as a session sees them."""

from __future__ import annotations

import pytest

from engine.config import changed
from engine.presets import preset
from engine.stream.status import State


@pytest.fixture
def page(visit, house):
    house.pump.start()
    return visit("train.py")


def click(page, key: str) -> None:
    page.button(key=key).click().run()
    assert not page.exception


def words(page) -> str:
    return "\n".join(text.value for text in page.text)


def test_a_fork_is_asked_about_and_undo_brings_the_parent_back(page, house, wait_until) -> None:
    click(page, "play")
    parent = house.current
    wait_until(lambda: parent.step > 20)
    page.run()
    click(page, "fork_now")
    assert house.current is parent and "This run is paused and loses nothing" in words(page)
    click(page, "fork_cancel")
    assert house.current is parent and "This run is paused" not in words(page)
    assert parent.state is State.RUNNING
    click(page, "fork_now")
    click(page, "fork")
    fork = house.current
    assert (fork.parent[0], parent.state, fork.state) == (parent.id, State.PAUSED, State.PAUSED)
    assert fork.step == parent.step and fork.settings == parent.settings
    assert "This run is paused" not in words(page)
    click(page, "undo")
    assert house.current is parent


def test_a_fork_leaves_an_earlier_step_with_knobs_turned_in_the_same_breath(page, house, wait_until) -> None:
    click(page, "play")
    parent = house.current
    wait_until(lambda: parent.step > 20)
    page.run()
    click(page, "fork_now")
    page.number_input(key="fork_step").set_value(11)
    page.number_input(key="fork_lr").set_value(0.25)
    page.number_input(key="fork_batch_size").set_value(7)
    page.number_input(key="fork_max_steps").set_value(500)
    click(page, "fork")
    fork = house.current
    assert (fork.step, fork.parent) == (11, (parent.id, 11))
    assert fork.settings == changed(parent.settings, lr=0.25, batch_size=7, max_steps=500)
    wait_until(lambda: (11, "lr 0.001 → 0.25") in [(event.step, event.text) for event in fork.history.events])
    click(page, "fork_now")
    assert page.number_input(key="fork_lr").value is None, "the next fork begins with nothing changed"
    page.number_input(key="fork_step").set_value(12)
    click(page, "fork")
    assert house.current is fork and "step 12 is not possible; choose one from 0 to 11" in words(page)
    assert page.number_input(key="fork_step").value == 12, "what was asked for stays, to be mended"


def test_a_divergence_is_told_in_numbers_and_undone_with_one_click(page, house, wait_until) -> None:
    click(page, "play")
    run = house.current
    run.pause()
    run.paused_state()
    run.tune(changed(run.settings, speed="unlimited"))
    run.make_steps(100 - run.step)
    wait_until(lambda: run.step == 100 and run.state is State.PAUSED)
    assert not [button for button in page.button if button.key == "rewind"]
    run.tune(changed(run.settings, lr=1e6))
    run.start()
    wait_until(lambda: run.state is State.DIVERGED)
    page.run()
    said = words(page)
    assert f"This run diverged at step {run.step + 1:,}." in said
    assert "After step 100 the learning rate was raised from 0.001 to 1 million." in said
    for about in ("The first sign came in step 101: the ", "one update moved ", "the loss was ", "Then numbers were "):
        assert about in said
    captions = "\n".join(caption.value for caption in page.caption)
    assert "From step 50, before the trouble began and the learning rate was 0.001." in captions
    assert page.button(key="rewind").label == "Start again with learning rate 0.0005 instead of 1 million"
    click(page, "rewind")
    again = house.current
    wait_until(lambda: again.step > 60)
    assert (again.parent, again.settings.lr, house.previous) == ((run.id, 50), 0.0005, run)
    page.run()
    assert not [button for button in page.button if button.key == "rewind"]


def test_a_run_that_diverged_at_once_starts_again_with_a_sensible_rate(house, visit, wait_until) -> None:
    house.pump.start()
    start = preset("bigram")
    run = house.start(start.config, changed(start.settings, lr=1e6, weight_decay=0.1, speed="unlimited"))
    wait_until(lambda: run.state is State.DIVERGED)
    page = visit("train.py")
    assert page.button(key="rewind").label == "Start again with learning rate 0.001 instead of 1 million"
    assert "From the first step." in "\n".join(caption.value for caption in page.caption)
    click(page, "rewind")
    again = house.current
    wait_until(lambda: again.step > 100)
    assert (again.parent, again.settings.lr, again.trouble) == ((run.id, 0), 0.001, False)


def test_the_card_of_a_divergence_can_be_closed(house, visit, wait_until) -> None:
    start = preset("bigram")
    run = house.start(start.config, changed(start.settings, lr=1e6, weight_decay=0.1, speed="unlimited"))
    wait_until(lambda: run.state is State.DIVERGED)
    page = visit("train.py")
    click(page, "lesson_close")
    assert "diverged at step" not in words(page) and not [one for one in page.button if one.key == "rewind"]


def test_a_run_is_fine_tuned_on_another_text_from_the_page(page, house, wait_until) -> None:
    click(page, "play")
    parent = house.current
    wait_until(lambda: parent.step > 20)
    page.run()
    page.selectbox(key="tune_text").set_value("ferry-notebook").run()
    click(page, "tune")
    run = house.current
    assert not page.exception and run.parent == (parent.id, parent.step)
    assert (run.dataset.name, run.state, parent.state) == ("ferry-notebook", State.READY, State.PAUSED)
    click(page, "play")
    assert house.current is run
    wait_until(lambda: run.step > 5)
    page.run()
    page.selectbox(key="tune_text").set_value("python-docs").run()
    click(page, "tune")
    page.button(key="undo").click().run()
    assert "characters that the model does not know" in words(page)
