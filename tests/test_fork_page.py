"""Forking and the lesson of a divergence, as a session sees them."""

from __future__ import annotations

import pytest

from engine.config import changed
from engine.runner import State


@pytest.fixture
def page(visit, house):
    house.pump.start()
    return visit("train.py")


def click(page, key: str) -> None:
    page.button(key=key).click().run()
    assert not page.exception


def words(page) -> str:
    return "\n".join(text.value for text in page.text)


def test_fork_here_asks_while_it_trains_and_undo_brings_the_parent_back(page, house, wait_until) -> None:
    click(page, "play")
    parent = house.current
    wait_until(lambda: parent.step > 20)
    page.run()
    click(page, "fork_now")
    assert house.current is parent and "Pause it and fork?" in words(page)
    (yes,) = [button for button in page.button if button.label == "Pause it"]
    yes.click().run()
    fork = house.current
    assert (fork.parent[0], parent.state, fork.state) == (parent.id, State.PAUSED, State.PAUSED)
    assert fork.step == parent.step and not page.exception
    page.number_input(key="fork_step").set_value(11).run()
    click(page, "fork")  # it stands still: nothing to ask
    assert (house.current.step, house.current.parent) == (11, (fork.id, 11))
    page.number_input(key="fork_step").set_value(12).run()
    click(page, "fork")
    assert house.current.step == 11 and "step 12 is not possible; choose one from 0 to 11" in words(page)
    click(page, "undo")
    assert house.current is fork


def test_a_divergence_is_told_in_numbers_and_undone_with_one_click(page, house, wait_until) -> None:
    click(page, "play")
    run = house.current
    run.pause()
    run.moment()
    run.tune(changed(run.settings, speed="unlimited"))
    run.make_steps(100 - run.step)
    wait_until(lambda: run.step == 100 and run.state is State.PAUSED)
    assert not [button for button in page.button if button.key == "rewind"]
    run.tune(changed(run.settings, lr=1e6))
    run.start()
    wait_until(lambda: run.state is State.DIVERGED)
    page.run()
    said = words(page)
    assert "Turned: lr 0.001 → 1e+06 after step 100." in said
    for about in ("Last finite losses: ", "Largest gradient norm: ", "Largest update: ", "First out of the ordinary: "):
        assert about in said
    assert "A new run from step 50." in "\n".join(caption.value for caption in page.caption)
    click(page, "rewind")
    again = house.current
    wait_until(lambda: again.step > 60)
    assert (again.parent, again.settings.lr, house.previous) == ((run.id, 50), 0.0005, run)
    page.run()
    assert not [button for button in page.button if button.key == "rewind"]
