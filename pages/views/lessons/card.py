"""The scene of the lesson under way, beside the stage or, in presenter mode, above it: what to look at, ask and do.

The question itself stands on the board, where phones and this screen answer it alike.
"""

from __future__ import annotations

import math
from typing import Literal

import streamlit as st

from engine.errors import InputError
from engine.lessons.course import find_lesson
from engine.lessons.course.scene import Bets, Do, Lesson, Look, Predict, Scene, Training, WhatIf
from engine.lessons.under_way import LessonUnderWay, Phase, lesson_under_way
from engine.link import LESSON
from engine.runs.run import Run
from engine.sweeps.sweep import Point, RunningSweep
from pages.charts import static
from pages.charts.pictures.sweep import sweep_figure, sweep_image
from pages.charts.static import presenting
from pages.views.race import sweep as sweep_view
from pages.views.shared.results import show_display
from pages.views.train.set_up import consequence
from pages.views.train.transport import play_label
from pages.widgets import notices
from pages.widgets.icon_button import icon_button
from pages.widgets.over import over

FIRST = 1
RUN_IT = {Training: "Close and train it", WhatIf: "Close and try it", Bets: "Close and train the bets"}
BETS = "Loss against learning rate"


def first_lesson_button(run: Run | None) -> None:
    """Opens the first lesson, with the weight of the button beside it; nothing while one is under way."""
    if lesson_under_way().lesson is not None:
        return
    st.button(
        "First lesson",
        key="first_lesson",
        type="secondary" if play_label(run) == "Pause" else "primary",
        width="stretch",
        on_click=open_lesson,
        args=(FIRST,),
        help="Asks first, then trains it for real. All lessons are on the page Lessons.",
    )


def open_lesson(which: str | int, at: int | None = None) -> None:
    """Open a lesson on the stage, at a scene or where it was left."""
    lesson_under_way().open(find_lesson(which), at)


def open_linked() -> None:
    """The lesson that the page's link names, once a session; a wrong name is told."""
    asked = st.query_params.get(LESSON)
    if asked is None or st.session_state.get("lesson_linked") == asked:
        return
    st.session_state.lesson_linked = asked
    try:
        open_lesson(asked)
    except InputError as error:
        notices.add(str(error))


def lesson_card() -> None:
    """The card, if a lesson is under way."""
    under_way = lesson_under_way()
    lesson, scene = under_way.lesson, under_way.scene
    if lesson is None or scene is None:
        return
    if presenting():
        _strip(under_way, lesson, scene)
        return
    with st.container(border=True, key="scene"):
        with st.container(horizontal=True, vertical_alignment="center", wrap=False, gap="xsmall", key="scene_head"):
            st.caption(f"Lesson {lesson.number} · {under_way.at + 1} of {len(lesson.scenes)}", width="stretch")
            _close_button(under_way)
        with st.container(gap="xsmall", key="scene_words"):
            st.markdown(f"**{literal(scene.title)}**")
            _words(under_way, scene)
        with st.container(horizontal=True, gap="xsmall", key="scene_verbs"):
            _verbs(under_way, lesson, scene)


def _strip(under_way: LessonUnderWay, lesson: Lesson, scene: Scene) -> None:
    """In presenter mode: the scene in one strip over the stage."""
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="small", key="scene"):
        with st.container(gap=None, width="stretch", key="scene_words"):
            where = f"{lesson.number}.{under_way.at + 1} of {len(lesson.scenes)}"
            st.markdown(f"**{where} · {literal(scene.title)}**")
            if under_way.asked is None or under_way.problem or under_way.phase is not Phase.SHOWN:
                _words(under_way, scene)
        with st.container(horizontal=True, vertical_alignment="center", wrap=False, gap="xsmall", width="content"):
            _verbs(under_way, lesson, scene)
            _close_button(under_way)


def _width() -> Literal["content", "stretch"]:
    return "content" if presenting() else "stretch"


def _close_button(under_way: LessonUnderWay) -> None:
    icon_button("Close the lesson; its run stays", "scene_leave", ":material/close:", on_click=under_way.leave)


def result_card() -> None:
    """Over the board: what the scene's what-if came to, or its bets as they are trained, as a picture."""
    under_way = lesson_under_way()
    chart, sweep = under_way.chart, under_way.sweep
    if chart is None and sweep is None:
        return
    with over("result"):
        if chart is not None:
            show_display(chart, "scene_chart")
        elif sweep is not None and under_way.phase is Phase.RUNNING:
            static.heading(BETS, sweep_view.HELP)
            _forming(sweep)
        elif sweep is not None:
            figure = sweep_figure(*_bets(sweep))
            static.show(figure, "scene_bets", BETS, sweep_view.HELP, height=360)


@st.fragment(run_every=0.5)
def _forming(sweep: RunningSweep) -> None:
    """The bets so far; the board has the page drawn anew when they are through."""
    if sweep.points():
        st.html(sweep_image(*_bets(sweep), (), static.theme()))


def _bets(sweep: RunningSweep) -> tuple[list[Point], str, str, float, float]:
    """The points, the axes' titles, the loss before training and that of guessing."""
    first, guessing = sweep.moments[0].losses[0], math.log(sweep.corpus.vocab_size)
    return sweep.points(), "learning rate", f"{sweep.where} loss, nats per token", first, guessing


def lesson_line(page: str) -> None:
    """On a page beside the stage: the scene in one line, with the way on and back; nothing without a lesson."""
    under_way = lesson_under_way()
    lesson, scene = under_way.lesson, under_way.scene
    if lesson is None or scene is None or page == "Train":
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="small", key="scene_line"):
        words = scene.text if isinstance(scene, Look | Do) else "There is a question on the stage."
        st.text(f"Lesson {lesson.number}, {scene.title}: {words}", width="stretch")
        _turn(under_way, lesson)
        st.page_link("train.py", label="To the stage")


def _words(under_way: LessonUnderWay, scene: Scene) -> None:
    asked = under_way.asked
    if asked is None:
        assert isinstance(scene, Look | Do)
        st.text(scene.text)
        if isinstance(scene, Do):
            _task(under_way)
    if under_way.problem:
        st.text(under_way.problem)
    elif asked is not None:
        _question(under_way, asked)
    experiment = asked.experiment if asked is not None else getattr(scene, "experiment", None)
    if isinstance(experiment, Training) and under_way.phase in (Phase.READY, Phase.OPEN) and (then := consequence()):
        st.caption(then)


def _question(under_way: LessonUnderWay, asked: Predict) -> None:
    """Where the question is, in words; the question itself is on the board."""
    if under_way.phase is Phase.OPEN:
        st.text("What do you think? Answer on the board; a room answers on its phones. You may change your mind.")
    elif under_way.phase is Phase.SHOWN:
        st.text("The board says what came, beside what was said.")
    elif isinstance(asked.experiment, Training):
        st.text("It trains. What comes is measured when it is through.")
    else:
        _progress(under_way)


def _task(under_way: LessonUnderWay) -> None:
    if under_way.phase is Phase.SHOWN:
        st.markdown(":green[:material/check_circle:] **Done.**")
    elif under_way.hint:
        st.text(f"A hint: {under_way.hint}")


@st.fragment(run_every=0.5)
def _progress(under_way: LessonUnderWay) -> None:
    """How far work beside the stage is; the board has the page drawn anew when it is through."""
    if (stage := under_way.stage) is not None:
        st.progress(stage.share, text=stage.what)


def _verbs(under_way: LessonUnderWay, lesson: Lesson, scene: Scene) -> None:
    asked, phase, width = under_way.asked, under_way.phase, _width()
    if asked is not None and (phase is Phase.OPEN or under_way.problem):
        label = RUN_IT.get(type(asked.experiment), "Close and see")
        st.button(label, key="scene_run", type="primary", width=width, on_click=_run_it, args=(_place(under_way),))
    elif isinstance(scene, Look | Do) and scene.experiment is not None:
        label = "Start it" if isinstance(scene, Look) else "Set it up"
        st.button(label, key="scene_run", type="primary", width=width, on_click=_run_it, args=(_place(under_way),))
    page = scene.page if isinstance(scene, Look | Do) else asked.page if asked is not None else ""
    if page and phase in (Phase.READY, Phase.SHOWN):
        st.page_link(f"{page}.py", label=f"See it on {page.replace('_', ' ').capitalize()}", width=width)
    if asked is not None and phase is not Phase.OPEN and not under_way.problem:
        hidden = under_way.room.hidden
        label = "Show what was said" if hidden else "Hide what was said"
        st.button(label, key="scene_hide", width=width, on_click=under_way.room.hide, args=(not hidden,))
    _turn(under_way, lesson)


def _turn(under_way: LessonUnderWay, lesson: Lesson) -> None:
    """Back and on; any scene can be skipped, and gone back to."""
    here = _place(under_way)
    with st.container(horizontal=True, gap="xsmall", wrap=False, width=_width(), key="scene_turn"):
        st.button("Back", key="scene_back", on_click=_go, args=(here, -1), disabled=under_way.at == 0)
        if under_way.at + 1 == len(lesson.scenes):
            st.button("Finish", key="scene_next", on_click=under_way.leave)
        else:
            settled = under_way.phase in (Phase.READY, Phase.SHOWN)
            st.button("Next" if settled else "Skip", key="scene_next", on_click=_go, args=(here, 1))


def _place(under_way: LessonUnderWay) -> tuple[str, int]:
    """Which scene of which lesson is on: a click counts for the scene that it was made in."""
    return (under_way.lesson.name if under_way.lesson is not None else "", under_way.at)


def _go(seen: tuple[str, int], by: int) -> None:
    under_way = lesson_under_way()
    if _place(under_way) == seen:
        under_way.go(under_way.at + by)


def _run_it(seen: tuple[str, int]) -> None:
    under_way = lesson_under_way()
    if _place(under_way) == seen:
        under_way.run_it()


def literal(text: str) -> str:
    """Text as markdown shows it literally: a teacher's own lesson may have any."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>()#+-.!|:$~" else c for c in text)
