"""`lessons`: the lessons there are, a line each; a sheet of workshops to print; or one rehearsed without a screen."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..atomic import write_atomic
from ..console import complain, printable, say
from ..errors import InputError
from ..lessons import sheet
from ..lessons.course import LESSONS, find_lesson
from ..lessons.course.own import own_lessons
from ..lessons.course.rehearsal import Rehearsal
from ..lessons.course.scene import Lesson
from ..lessons.poll import Choice
from ..paths import home
from ..runs.datasets import Datasets
from ..text.library import Library


def lessons(arguments: argparse.Namespace) -> int:
    """List the lessons, write the sheet, or rehearse one; InputError for a lesson that cannot be played."""
    own = own_lessons()
    everything = (*LESSONS, *own.lessons)
    if arguments.sheet is not None:
        return _write_sheet(Path(arguments.sheet))
    if arguments.rehearse is not None:
        _rehearse(find_lesson(arguments.rehearse))
        return 0
    width = max(len(lesson.name) for lesson in everything)
    for lesson in everything:
        say(printable(f"{lesson.number:>3}  {lesson.name:<{width}}  {lesson.minutes:>3} min  {lesson.title}"))
    for problem in own.problems:
        complain(problem)
    return 0


def _write_sheet(path: Path) -> int:
    try:
        write_atomic(path, sheet.page())
    except OSError as error:
        why = (error.strerror or "refused").lower()
        raise InputError(f"--sheet {str(path)[:200]} cannot be written ({why}); choose another file") from None
    say(f"two workshops, a page each, in {printable(str(path.absolute()))}")
    return 0


def _rehearse(lesson: Lesson) -> None:
    """Play every scene, and say what came out."""
    rehearsal = Rehearsal(Datasets(Library(home())))
    say(printable(f"{lesson.number} {lesson.title}"))
    try:
        for scene, measured, explained, seconds in rehearsal.play(lesson):
            say(printable(f"  {scene.title} ({seconds:.1f} s)"))
            question = lesson.asked(scene)
            if measured is None or question is None:
                continue
            kind, answer = question.kind, measured.answer
            if isinstance(kind, Choice) and isinstance(answer, int):
                say(printable(f"    right: {kind.options[answer]}"))
            elif isinstance(answer, int | float):
                say(f"    right: {answer:g}")
            say(printable(f"    {explained}"))
    finally:
        rehearsal.close()
