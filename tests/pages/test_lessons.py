"""Lessons on the pages: the list, the card beside the stage, the line on other pages, and links to a lesson."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine.lessons.classroom import classroom
from engine.lessons.course import LESSONS
from engine.lessons.course.scene import Do, Predict
from engine.lessons.under_way import Phase, lesson_under_way
from engine.runs.manager import RunManager
from engine.stream.status import State
from tests.pages.test_set_up import click, opened, words

Wait = Callable[..., None]


def keys(page: AppTest) -> set[str]:
    return {button.key or "" for button in page.button}


def markdown(page: AppTest) -> str:
    return "\n".join(element.value.replace("\\", "") for element in page.markdown)


def first_question() -> int:
    return next(at for at, scene in enumerate(LESSONS[0].scenes) if isinstance(scene, Predict))


def test_a_first_lesson_asks_runs_it_and_says_what_came(house: RunManager, wait_until: Wait) -> None:
    page, under_way = opened(), lesson_under_way()
    assert {"play", "first_lesson"} <= keys(page)
    click(page, "first_lesson")
    assert under_way.lesson is LESSONS[0] and under_way.at == 0 and "first_lesson" not in keys(page)
    assert LESSONS[0].scenes[0].text in words(page)
    for _ in range(first_question()):
        click(page, "scene_next")
    asked = under_way.asked
    assert asked is not None and under_way.phase is Phase.OPEN and house.current is None
    told = classroom().header()
    assert told is not None and told["text"] == asked.text and told["open"] and asked.title in markdown(page)
    click(page, "scene_run")
    wait_until(lambda: under_way.phase is Phase.SHOWN)
    page.run()
    assert not under_way.problem
    told = classroom().header()
    assert under_way.measured is not None and told is not None
    assert told["because"] == asked.explained(under_way.measured) and "distribution" in told
    click(page, "scene_hide")
    told = classroom().header()
    assert told is not None and "distribution" not in told
    click(page, "scene_back")
    click(page, "scene_leave")
    assert under_way.lesson is None and "scene_next" not in keys(page) and classroom().header() is None


def test_the_whole_lesson_can_be_skipped_through(house: RunManager) -> None:
    page, under_way = opened("lesson=1"), lesson_under_way()
    for at, scene in enumerate(LESSONS[0].scenes):
        assert under_way.at == at
        verb = next(button for button in page.button if button.key == "scene_next")
        last = at + 1 == len(LESSONS[0].scenes)
        assert verb.label == ("Finish" if last else "Skip" if under_way.phase is Phase.OPEN else "Next")
        assert isinstance(scene, Do) <= (scene.text in words(page) if isinstance(scene, Do) else True)
        click(page, "scene_next")
    assert under_way.lesson is None and house.current is None


@pytest.mark.parametrize("link", ["1", LESSONS[0].name, "99", "<b>"])
def test_a_link_opens_a_lesson_or_says_which_there_are(house: RunManager, link: str) -> None:
    page = opened(f"lesson={link}")
    found = link in ("1", LESSONS[0].name)
    assert (lesson_under_way().lesson is LESSONS[0]) is found
    assert ("there is no lesson" in words(page)) is not found
    assert "there is no setting" not in words(page)
    if found:
        click(page, "scene_leave")
        page.run()
        assert lesson_under_way().lesson is None, "a link has its say once"


def test_a_run_under_way_is_named_before_a_lesson_replaces_it(house: RunManager, wait_until: Wait) -> None:
    page = opened("preset=bigram")
    click(page, "play")
    wait_until(lambda: house.current is not None and house.current.state is State.RUNNING)
    before = house.current
    lesson_under_way().open(LESSONS[0], first_question())
    page.run()
    assert "The run on the stage then stops; undo brings it back." in words(page)
    click(page, "scene_run")
    wait_until(lambda: lesson_under_way().phase is Phase.SHOWN)
    assert house.previous is before and before is not None
    wait_until(lambda: before.state is State.STOPPED)


def test_the_list_has_all_lessons_and_how_far_one_is(house: RunManager, visit: Callable[[str], AppTest]) -> None:
    page = visit("lessons.py")
    for lesson in LESSONS:
        assert f"Afterwards you can {lesson.can}." in words(page)
    assert f"{LESSONS[0].minutes} minutes · {len(LESSONS[0].scenes)} scenes" in words(page)
    lesson_under_way().open(LESSONS[1], 2)
    page = page.run()
    assert f"1 of {len(LESSONS[1].scenes)} scenes seen" in words(page)
    (go_on,) = [button for button in page.button if button.key == f"open-{LESSONS[1].name}"]
    assert go_on.label == "Go on"


def test_a_teacher_s_file_that_is_wrong_says_what_is(
    house: RunManager, visit: Callable[[str], AppTest], tmp_path: Path
) -> None:
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "mine.toml").write_text("title = 3")
    told = words(visit("lessons.py"))
    assert "mine.toml: " in told and str(tmp_path) not in told


def test_a_room_guesses_place_by_place_and_sees_its_figure(house: RunManager, visit: Callable[[str], AppTest]) -> None:
    page = visit("lessons.py")
    page.session_state["lessons_open"] = "The room against the model"
    page.run()
    click(page, "room_begin")
    asked = classroom().header()
    assert asked is not None and asked["kind"] == "character" and asked["open"]
    classroom().answer(asked["id"], "a phone", asked["tokens"][3])
    click(page, "room_close")
    told = classroom().header()
    assert told is not None and not told["open"] and told["right"] in asked["tokens"]
    assert "nats per character" in words(page)
    click(page, "room_next")
    again = classroom().header()
    assert again is not None and again["open"] and again["id"] != asked["id"]
    click(page, "room_end")
    assert classroom().header() is None


def test_a_click_counts_for_the_scene_that_it_was_made_in(house: RunManager) -> None:
    page, other = opened("lesson=1"), opened("lesson=1")
    click(page, "scene_next")
    click(other, "scene_next")
    assert lesson_under_way().at == 1
    lesson_under_way().leave()
    click(page, "scene_next")
    assert lesson_under_way().lesson is None


def test_other_pages_have_the_scene_in_a_line(house: RunManager, visit: Callable[[str], AppTest]) -> None:
    page = visit("data.py")
    assert "scene_next" not in keys(page)
    lesson_under_way().open(LESSONS[0])
    page.run()
    assert LESSONS[0].scenes[0].text in words(page)
    click(page, "scene_next")
    assert lesson_under_way().at == 1
