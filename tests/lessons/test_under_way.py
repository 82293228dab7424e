"""The lesson under way: its question closes before its experiment runs, and what comes is measured from that run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.config import changed
from engine.errors import InputError
from engine.lessons import places, predictions
from engine.lessons.classroom import Classroom
from engine.lessons.course.scene import Again, Bets, Do, Lesson, Look, Measured, Outcome, Predict, Training, WhatIf
from engine.lessons.poll import Choice, Closed, Number
from engine.lessons.under_way import LessonUnderWay, Phase
from engine.presets import preset
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.stream.status import State

Wait = Callable[..., None]
PLANNED = preset("bigram").config, changed(preset("bigram").settings, max_steps=20, speed="unlimited")
SHORT = "preset=bigram&max_steps=20&speed=unlimited"


def last_loss(outcome: Outcome) -> Measured:
    assert outcome.run is not None
    last = outcome.run.history.series["train/loss"].last
    return Measured(int(last > 4), {"last": last, "steps": outcome.run.step})


def lowest_rate(outcome: Outcome) -> Measured:
    assert outcome.sweep is not None
    return Measured(outcome.sweep.points()[0].value, {"lanes": len(outcome.sweep.points())})


def trained_enough(run: Run) -> bool:
    return run.step >= 15


ASKED = Predict(
    "Where",
    "Where is the loss after 20 steps?",
    Choice(("below 4", "above 4", "nowhere")),
    Training(SHORT),
    last_loss,
    "It is {last:.2f} after {steps} steps.",
    {0: "Below {last:.1f} it is not.", 2: "It is always somewhere."},
)
LESSON = Lesson(
    1,
    "small",
    "A small lesson",
    5,
    "say so",
    (
        Look("See", "Look at the curve.", Training(SHORT)),
        ASKED,
        Again("Once more", "Where"),
        Do("Do", "Train 15 steps.", trained_enough, "Press +1.", (), Training("preset=bigram&max_steps=500&speed=100")),
        Predict("Bet", "Which rate?", Number(1e-4, 10, log=True), Bets(30, (0.01,)), lowest_rate, "{lanes} rates."),
        Predict("Try", "Which?", Choice(("a", "b")), WhatIf("no-zero-grad-sgd", True), lambda _: Measured(1), "b."),
    ),
)


@pytest.fixture
def room() -> Classroom:
    return Classroom()


@pytest.fixture
def lesson(house: RunManager, room: Classroom) -> LessonUnderWay:
    under_way = LessonUnderWay(house, room)
    under_way.open(LESSON)
    return under_way


def header(room: Classroom) -> dict:
    told = room.header()
    assert told is not None
    return told


def test_a_question_closes_before_its_run_and_the_answer_is_measured(
    lesson: LessonUnderWay, room: Classroom, house: RunManager, wait_until: Wait
) -> None:
    assert lesson.phase is Phase.READY and room.header() is None
    lesson.go(1)
    asked = header(room)
    assert lesson.phase is Phase.OPEN and asked["open"] and "distribution" not in asked and "right" not in asked
    room.answer(asked["id"], "a", 0)
    room.answer(asked["id"], "b", 2)
    room.answer(asked["id"], "b", 1)
    assert house.current is None, "nothing runs before it is closed"
    lesson.run_it()
    with pytest.raises(Closed):
        room.answer(asked["id"], "c", 1)
    wait_until(lambda: lesson.phase is Phase.SHOWN)
    told, run = header(room), house.current
    assert run is not None and run.state is State.DONE and run.step == 20
    last = run.history.series["train/loss"].last
    assert told["distribution"] == {"counts": [1, 1, 0]} and told["right"] == int(last > 4)
    assert told["because"] == f"It is {last:.2f} after 20 steps."
    assert told["reasons"]["2"] == "It is always somewhere." and str(told["right"]) not in told["reasons"]
    (kept,) = predictions.read(run.folder)
    assert kept.right == told["right"] and kept.told == {"counts": [1, 1, 0]}
    lesson.go(2)
    assert "before" not in header(room), "nobody follows the crowd"
    room.answer(header(room)["id"], "a", 1)
    lesson.run_it()
    wait_until(lambda: lesson.phase is Phase.SHOWN)
    again = header(room)
    assert house.current is run, "what is known is not run again"
    assert again["before"] == {"counts": [1, 1, 0]} and again["distribution"] == {"counts": [0, 1, 0]}
    assert again["right"] == told["right"]


def test_a_task_is_done_when_it_holds_and_has_a_hint_after_a_while(
    house: RunManager, room: Classroom, wait_until: Wait
) -> None:
    now = 0.0
    lesson = LessonUnderWay(house, room, clock=lambda: now)
    lesson.open(LESSON, 3)
    assert lesson.phase is Phase.READY and not lesson.hint and room.header() is None
    now = 100.0
    assert lesson.hint == "Press +1."
    lesson.run_it()
    wait_until(lambda: lesson.phase is Phase.SHOWN)
    assert house.current is not None and house.current.step >= 15 and not lesson.hint


def test_a_task_is_not_done_by_the_run_before_it_nor_ended_by_a_number_that_is_not_there_yet(
    lesson: LessonUnderWay, house: RunManager, wait_until: Wait
) -> None:
    run = house.start(*PLANNED)
    wait_until(lambda: run.step == 20)
    asked = []

    def too_early(run: Run) -> bool:
        asked.append(run.id)
        if len(asked) < 3:
            raise InputError("this run has no kl yet")
        return run.step >= 15

    task = Do("Do", "Train.", too_early, "Press +1.", (), Training("preset=bigram&max_steps=500&speed=100"))
    lesson.open(Lesson(3, "task", "Task", 5, "do", (task,)))
    assert lesson.phase is Phase.READY and not asked, "the run before has made its 20 steps long since"
    lesson.run_it()
    wait_until(lambda: lesson.phase is Phase.SHOWN)
    assert not lesson.problem and len(asked) >= 3 and run.id not in asked


def test_opening_a_lesson_that_is_open_keeps_its_question(lesson: LessonUnderWay, room: Classroom) -> None:
    lesson.go(1)
    room.answer(header(room)["id"], "a", 0)
    lesson.open(LESSON)
    lesson.open(LESSON, 1)
    assert header(room)["count"] == 1
    lesson.open(LESSON, 2)
    assert header(room)["count"] == 0


def test_a_knob_turned_on_the_way_gives_no_answer(lesson: LessonUnderWay, house: RunManager, wait_until: Wait) -> None:
    slow = Predict(**{**vars(ASKED), "experiment": Training("preset=bigram&max_steps=60&speed=100")})
    lesson.open(Lesson(2, "slow", "Slow", 5, "wait", (slow,)))
    lesson.run_it()
    wait_until(lambda: house.current is not None and house.current.step > 3)
    assert house.current is not None
    house.current.tune(changed(house.current.settings, lr=0.5, speed="unlimited"))
    wait_until(lambda: lesson.phase is Phase.SHOWN)
    assert "a knob was turned" in lesson.problem
    lesson.run_it()
    wait_until(
        lambda: lesson.phase is Phase.RUNNING and house.current is not None and house.current.step in range(3, 50)
    )
    house.undo()
    wait_until(lambda: lesson.phase is Phase.SHOWN)
    assert "another run is on the stage" in lesson.problem


def test_votes_on_other_options_and_hidden_ones_are_not_told_again(
    lesson: LessonUnderWay, room: Classroom, wait_until: Wait
) -> None:
    twin = Predict(**{**vars(ASKED), "title": "Twin", "kind": Choice(("a", "b"))})
    lesson.open(Lesson(4, "again", "Again", 5, "ask", (ASKED, Again("Other", "Where", twin), Again("Same", "Where"))))
    for hide in (False, True):
        lesson.go(0)
        room.answer(header(room)["id"], "a", 0)
        lesson.run_it()
        wait_until(lambda: lesson.phase is Phase.SHOWN)
        room.hide(hide)
        for at in (1, 2):
            lesson.go(at)
            room.close()
            assert ("before" in header(room)) is (at == 2 and not hide)


def test_a_lesson_that_is_gone_is_not_opened_again(house: RunManager, room: Classroom) -> None:
    places.visit("my-own", 2)
    under_way = LessonUnderWay(house, room)
    under_way.open_again()
    assert under_way.lesson is None and places.read().open is None


def test_bets_are_trained_with_the_scene_s_own(lesson: LessonUnderWay, room: Classroom, wait_until: Wait) -> None:
    lesson.go(4)
    for place, rate in enumerate((0.5, 0.001, 0.5)):
        room.answer(header(room)["id"], f"phone {place}", rate)
    lesson.run_it()
    wait_until(lambda: lesson.phase is Phase.SHOWN)
    told = header(room)
    assert not lesson.problem
    assert told["because"] == "3 rates." and told["right"] == 0.001, "the two that differ, and the scene's own"
    assert told["distribution"]["values"] == [0.001, 0.5, 0.5]


def test_a_what_if_is_shown_without_names_until_its_question_is_closed(
    lesson: LessonUnderWay, room: Classroom, wait_until: Wait
) -> None:
    lesson.go(5)
    wait_until(lambda: lesson.chart is not None)
    assert lesson.phase is Phase.OPEN and lesson.chart is not None
    unnamed = [curve.name for curve in lesson.chart.curves]
    assert unnamed == ["a", "b"][: len(unnamed)] and "right" not in header(room)
    lesson.run_it()
    wait_until(lambda: lesson.phase is Phase.SHOWN)
    assert [curve.name for curve in lesson.chart.curves] != unnamed and header(room)["right"] == 1


def test_a_run_that_is_stopped_gives_no_answer_and_says_so(
    lesson: LessonUnderWay, house: RunManager, room: Classroom, wait_until: Wait
) -> None:
    slow = Lesson(2, "slow", "Slow", 5, "wait", (Predict(**{**vars(ASKED), "experiment": Training("preset=bigram")}),))
    lesson.open(slow)
    lesson.run_it()
    wait_until(lambda: house.current is not None and house.current.step > 3)
    assert house.current is not None
    house.current.stop()
    wait_until(lambda: lesson.phase is Phase.SHOWN)
    assert "stopped at step" in lesson.problem and "run it again" in lesson.problem and "right" not in header(room)
    lesson.run_it()
    wait_until(lambda: house.current is not None and house.current.state is State.RUNNING)
    first = house.current
    lesson.go(0)
    assert first.state is State.RUNNING and lesson.phase is Phase.OPEN, "one may leave; the run goes on"


def test_the_place_outlives_the_server(lesson: LessonUnderWay, house: RunManager) -> None:
    lesson.go(3)
    assert places.read().open == "small" and places.read().seen == {"small": (0, 3)}
    other = LessonUnderWay(house, Classroom())
    other.open(LESSON)
    assert other.at == 3
    other.leave()
    assert places.read().open is None and places.read().at == {"small": 3}
    with pytest.raises(InputError, match="open a lesson"):
        other.go(0)


def test_a_damaged_file_of_places_is_a_beginning(lesson: LessonUnderWay, tmp_path) -> None:
    for damage in ("{", '{"at": 3}', '{"seen": {"small": [-3]}}', "x" * 200_000):
        (tmp_path / places.FILE).write_text(damage)
        assert places.read() == places.Places()
    lesson.go(2)
    assert places.read().at == {"small": 2}
