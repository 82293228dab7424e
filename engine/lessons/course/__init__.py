"""The lessons, in the order of the path. Each is one file of data; `scene.py` says what it is made of."""

from __future__ import annotations

from ...errors import InputError
from . import (
    against_the_model,
    before_learning,
    by_heart,
    how_large_a_step,
    line_learns,
    looking_back,
    must_be_cleared,
    noise,
    one_step,
    the_floor,
    words_as_arrows,
)
from .scene import Lesson

LESSONS: tuple[Lesson, ...] = (
    line_learns.LESSON,
    before_learning.LESSON,
    one_step.LESSON,
    how_large_a_step.LESSON,
    the_floor.LESSON,
    must_be_cleared.LESSON,
    noise.LESSON,
    looking_back.LESSON,
    by_heart.LESSON,
    words_as_arrows.LESSON,
    against_the_model.LESSON,
)


def find_lesson(name: str | int) -> Lesson:
    """The lesson with that name or number, a teacher's own among them; InputError lists what there is."""
    from .own import all_lessons  # which itself stands on the list above

    lessons = all_lessons()
    found = next((lesson for lesson in lessons if str(name) in (lesson.name, str(lesson.number))), None)
    if found is None:
        there = ", ".join(f"{lesson.number} {lesson.name}" for lesson in lessons)
        raise InputError(f"there is no lesson {str(name)[:40]!r}; choose one of {there}")
    return found
