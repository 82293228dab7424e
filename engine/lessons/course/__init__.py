"""The lessons, in the order of the path. Each is one file of data; `scene.py` says what it is made of."""

from __future__ import annotations

from ...errors import InputError
from . import before_learning, line_learns, must_be_cleared, one_step, the_floor
from .scene import Lesson

LESSONS: tuple[Lesson, ...] = (
    line_learns.LESSON,
    before_learning.LESSON,
    one_step.LESSON,
    the_floor.LESSON,
    must_be_cleared.LESSON,
)


def find_lesson(name: str | int, lessons: tuple[Lesson, ...] = LESSONS) -> Lesson:
    """The lesson with that name or number; InputError lists what there is."""
    found = next((lesson for lesson in lessons if str(name) in (lesson.name, str(lesson.number))), None)
    if found is None:
        there = ", ".join(f"{lesson.number} {lesson.name}" for lesson in lessons)
        raise InputError(f"there is no lesson {str(name)[:40]!r}; choose one of {there}")
    return found
