"""All lessons in their order: how long each takes, what one can do afterwards, how far one has come."""

from __future__ import annotations

import streamlit as st

from engine.lessons import places, sheet
from engine.lessons.course import LESSONS
from engine.lessons.course.own import own_lessons
from engine.lessons.course.scene import Lesson
from engine.lessons.places import Places
from pages.views.lessons.card import literal, open_lesson


def course() -> None:
    """The list; opening one leads to the stage."""
    kept = places.read()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("For a teacher: workshops of 60 and of 20 minutes, with times, words and keys.", width="content")
        st.download_button("The sheet to print", sheet.page, "loopscope-workshop.html", "text/html", key="sheet")
    own = own_lessons()
    for lesson in (*LESSONS, *own.lessons):
        _lesson(lesson, kept)
    for problem in own.problems:
        st.text(problem)


def lessons_about(page: str) -> None:
    """On a page: the lessons that lead to it, each with the way there."""
    leading = [lesson for lesson in LESSONS if any(getattr(scene, "page", "") == page for scene in lesson.scenes)]
    if not leading:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="lessons_about"):
        st.caption("Asked about in", width="content")
        for lesson in leading:
            if st.button(f"Lesson {lesson.number}: {lesson.title}", key=f"about-{lesson.name}", type="tertiary"):
                open_lesson(lesson.name, 0)
                st.switch_page("train.py")


def _lesson(lesson: Lesson, kept: Places) -> None:
    seen = len([at for at in kept.seen.get(lesson.name, ()) if at < len(lesson.scenes)])
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"lesson-{lesson.name}"):
        with st.container(gap=None, width="stretch"):
            st.subheader(f"{lesson.number} · {literal(lesson.title)}", anchor=False)
            st.text(f"Afterwards you can {lesson.can}.")
            st.caption(f"{lesson.minutes} minutes · {_how_far(seen, len(lesson.scenes))}")
        if st.button(
            "Go on" if 0 < seen < len(lesson.scenes) else "Open",
            key=f"open-{lesson.name}",
            type="primary" if kept.open == lesson.name or (lesson.number == 1 and not kept.seen) else "secondary",
        ):
            open_lesson(lesson.name, 0 if seen == len(lesson.scenes) else None)
            st.switch_page("train.py")


def _how_far(seen: int, scenes: int) -> str:
    if not seen:
        return f"{scenes} scenes"
    return "all scenes seen" if seen == scenes else f"{seen} of {scenes} scenes seen"
