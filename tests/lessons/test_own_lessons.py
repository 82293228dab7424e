"""A teacher's own lessons: one TOML file each, which can do what links can, and is refused in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import InputError
from engine.lessons.course import LESSONS, find_lesson
from engine.lessons.course.own import MOST_FILES, named_measure, own_lessons
from engine.lessons.course.rehearsal import Rehearsal
from engine.lessons.course.scene import Again, Predict
from engine.lessons.poll import Choice, Drawing, Number
from engine.runs.datasets import Datasets
from engine.text.library import Library
from tests.conftest import ROOT

GOOD = """
title = "How fast can it be?"
minutes = 15
can = "choose a rate for a short run"

[[scenes]]
kind = "look"
title = "Slow"
text = "Watch <b>how</b> it creeps."
link = "preset=bigram&lr=0.001&max_steps=100"

[[scenes]]
kind = "predict"
title = "Two hundred steps"
text = "Where does it end?"
link = "preset=bigram&lr=0.1&max_steps=200"
measure = "mean of the last 100 train/loss"
because = "It ended at {measured:.2f}; the floor is {floor:.2f}."

[[scenes.options]]
text = "Above 4"
wrong = "It was {measured:.2f}."

[[scenes.options]]
text = "Below 2"
below = 2.0

[[scenes.options]]
text = "Between"
below = 4.0

[[scenes]]
kind = "predict"
title = "When?"
text = "When is it below 3?"
link = "preset=bigram&lr=0.1&max_steps=200"
measure = "first step where train/loss < 3"
because = "At step {measured:.0f} of {steps:,}."
number = { low = 1, high = 200, unit = "steps", log = true }

[[scenes]]
kind = "do"
title = "Faster"
text = "Below 3 within 100 steps."
hint = "Raise the rate."
measure = "lowest train/loss"
below = 3.0
within = 100
link = "preset=bigram&lr=0.001&max_steps=400"
way = [{ steps = 90, turns = { lr = 0.1 } }]

[[scenes]]
kind = "again"
title = "Draw it"
of = "When?"

[scenes.twin]
title = "Draw it"
text = "Draw the loss."
link = "preset=bigram&lr=0.1&max_steps=200"
measure = "last train/loss"
because = "It began at {first:.2f}."
curve = { first = 0, last = 200, low = 2.0, high = 6.0 }
"""


def write(folder: Path, text: str | bytes, name: str = "how-fast.toml") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def refused(folder: Path, text: str | bytes) -> str:
    """The one sentence with which a file is refused."""
    lessons, (problem,) = own_lessons(write(folder, text))
    assert lessons == () and problem.startswith("how-fast.toml: ") and str(folder) not in problem
    assert len(problem) < 500 and "\n" not in problem
    return problem


def test_a_file_in_the_data_home_is_the_lesson_after_the_eleven(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    assert own_lessons() == ((), ())
    write(tmp_path / "lessons", GOOD)
    lesson = find_lesson("how-fast")
    assert lesson is find_lesson(len(LESSONS) + 1), "the same until the file changes: it may be under way"
    assert (lesson.title, lesson.minutes, [scene.title for scene in lesson.scenes]) == (
        "How fast can it be?", 15, ["Slow", "Two hundred steps", "When?", "Faster", "Draw it"]
    )  # fmt: skip


def test_it_is_rehearsed_like_the_others(tmp_path) -> None:
    (lesson,), problems = own_lessons(write(tmp_path / "lessons", GOOD))
    assert problems == ()
    rehearsal = Rehearsal(Datasets(Library(tmp_path)))
    try:
        played = {one.scene.title: one for one in rehearsal.play(lesson)}
    finally:
        rehearsal.close()
    ended = played["Two hundred steps"]
    assert isinstance(ended.scene, Predict) and isinstance(ended.scene.kind, Choice)
    assert ended.measured.answer == 2 and 2 < ended.measured.facts["measured"] < 4
    assert ended.explained == "It ended at {measured:.2f}; the floor is {floor:.2f}.".format(**ended.measured.facts)
    assert ended.scene.reason(0, ended.measured) == "It was {measured:.2f}.".format(**ended.measured.facts)
    assert isinstance(played["When?"].scene.kind, Number) and 1 < played["When?"].measured.answer < 200
    drawn = played["Draw it"]
    assert isinstance(drawn.scene, Again) and isinstance(lesson.asked(drawn.scene).kind, Drawing)
    assert len(drawn.measured.answer) == 50 and drawn.measured.answer[-1][0] == 200


def but(old: str, new: str, count: int = -1) -> str:
    """The good file with something else in one place."""
    assert old in GOOD
    return GOOD.replace(old, new, count)


BROKEN = {
    "no TOML": ("title = ", "it is not TOML"),
    "no title": (but('title = "How fast can it be?"\n', "", 1), "title is missing; add it"),
    "an unknown field": (but("minutes = 15", "minutes = 15\nrun = 'rm'"), "there is no run; take it out"),
    "too many minutes": (but("minutes = 15", "minutes = 999"), "minutes 999 is not possible; choose at most 240"),
    "no such kind": (but('"look"', '"exec"'), "scene 1 {"),
    "a long title": (but('"Slow"', f'"{"x" * 81}"'), "scene 1 title 'xxx"),
    "code in an explanation": (
        but("{measured:.2f}; the", "{measured.__class__}; the"),
        "scene 2: there is no fact {measured.__class__}",
    ),
    "a form that is a bomb": (but("{measured:.2f}; the", "{measured:>999999999}; the"), "is not a form of a fact"),
    "an open brace": (but("{measured:.2f}; the", "{measured; the"), "scene 2: "),
    "a measure that is code": (
        but('"lowest train/loss"', "\"__import__('os')\""),
        "scene 4: there is no measure \"__import__('os')\"",
    ),
    "another channel": (but('"lowest train/loss"', '"lowest passwords"'), "there is no measure 'lowest passwords'"),
    "a link with a wrong value": (
        but("lr=0.001&max_steps=100", "lr=-1"),
        "scene 1: the link's lr=-1 was ignored: lr '-1' is not possible",
    ),
    "a link with no such setting": (but("lr=0.001&max_steps=100", "command=rm"), "there is no setting 'command'"),
    "a link with no such preset": (but("preset=bigram&lr=0.001", "preset=nowhere"), "there is no preset 'nowhere'"),
    "two ways to answer": (
        but("[[scenes.options]]", "number = { low = 0, high = 9 }\n[[scenes.options]]", 1),
        "2 ways to answer are given",
    ),
    "no bounds": (but("below = 2.0", ""), "scene 2: all options but one need a `below`"),
    "six options": (
        but("[[scenes.options]]", "[[scenes.options]]\ntext = 'x'\nbelow = 1\n" * 3 + "[[scenes.options]]", 1),
        "scene 2 options",
    ),
    "bounds out of order": (but("low = 1, high = 200", "low = 9, high = 2"), "scene 3: a number from 9.0 to 2.0"),
    "a slider from nowhere": (but("low = 1, high = 200", "low = -inf, high = 200"), "scene 3 number low"),
    "no level": (but("below = 3.0\n", ""), "scene 4: a task needs a level; give either below or above"),
    "a knob that there is not": (but("turns = { lr = 0.1 }", "turns = { seed = 1 }"), "'seed' cannot be turned"),
    "a knob too far": (but("turns = { lr = 0.1 }", "turns = { lr = -1 }"), "lr -1 is not possible"),
    "asking again what was not asked": (but('of = "When?"', 'of = "Never"'), "no question before it is called 'Never'"),
    "one title twice": (but('title = "When?"', 'title = "Slow"'), "scene 3: there is a scene 'Slow' already"),
    "no scene": (
        'title = "x"\nminutes = 1\ncan = "y"\nscenes = []',
        "scenes [] is not possible; choose at least 1",
    ),
    "too long": (GOOD + "#" * 70_000, "it is longer than 64 kB; make two lessons of it"),
    "not UTF-8": (b"title = '\xff\xfe'", "it is not UTF-8"),
    "nested without end": ("x = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    "a number without end": ("minutes = " + "9" * 5000, "is too long to read"),
}


@pytest.mark.parametrize("text, says", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_in_words(text, says, tmp_path) -> None:
    assert says in refused(tmp_path / "lessons", text)


def test_what_is_no_plain_file_is_not_opened(tmp_path) -> None:
    folder = tmp_path / "lessons"
    folder.mkdir()
    (tmp_path / "secret.toml").write_text(GOOD)
    (folder / "a.toml").symlink_to(tmp_path / "secret.toml")
    (folder / "b.toml").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "c.toml")
    lessons, problems = own_lessons(folder)
    assert lessons == () and len(problems) == 2 + hasattr(os, "mkfifo")
    assert all("it is no plain file" in problem for problem in problems)


def test_one_bad_file_takes_no_other_away_and_a_name_is_given_once(tmp_path) -> None:
    folder = write(tmp_path / "lessons", GOOD)
    write(folder, "nonsense", "bad.toml")
    write(folder, GOOD, "the-floor.toml")
    write(folder, GOOD, "How Fast.toml")
    write(folder, "not a lesson", "notes.txt")
    lessons, problems = own_lessons(folder)
    assert [(lesson.name, lesson.number) for lesson in lessons] == [("how-fast", 12)]
    assert len(problems) == 3 and sum("give the file another name" in problem for problem in problems) == 2


def test_more_files_than_may_be_are_told(tmp_path) -> None:
    folder = tmp_path / "lessons"
    for place in range(MOST_FILES + 2):
        write(folder, 'title = "x"', f"{place:03}.toml")
    _, problems = own_lessons(folder)
    assert len(problems) == MOST_FILES + 1 and "52 lessons are too many; the first 50 are read" in problems[-1]


def test_a_measure_is_one_of_a_fixed_table() -> None:
    assert named_measure("step of the lowest val/loss")[0] == "val/loss"
    with pytest.raises(InputError, match="write one of 'first', 'last'"):
        named_measure("sum of train/loss")


def test_the_example_that_people_are_shown_can_be_played(tmp_path) -> None:
    shown = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("```toml\n")[2].partition("```")[0]
    (lesson,), problems = own_lessons(write(tmp_path / "lessons", shown))
    rehearsal = Rehearsal(Datasets(Library(tmp_path)))
    try:
        asked, _ = rehearsal.play(lesson)
    finally:
        rehearsal.close()
    assert problems == () and asked.measured.answer == 1 and set(asked.scene.wrong) == {0, 2}
