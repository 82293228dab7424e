"""The stage: a run's controls at the left, the live board beside them. Holds no training state.

The whole page is one fragment. It never polls: the board listens to the engine and reruns the page when the run, its
state or its settings are no longer what was drawn. A session keeps only what its person has prepared and not started
yet (a preset, another text).
"""

from __future__ import annotations

import streamlit as st

from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.tracking.external_run import ExternalRun
from pages.board.board import Shown, board, shown_of
from pages.charts.static import presenting
from pages.views.lessons import card
from pages.views.shared import frame, scrubber
from pages.views.train import external_run, fork, pin_note
from pages.views.train.divergence import divergence_card, is_told
from pages.views.train.knobs import live_knobs, more_knobs, step_rate
from pages.views.train.new_run import estimate, new_run
from pages.views.train.sampling import sampling
from pages.views.train.set_up import hint, set_up_card
from pages.views.train.share import share
from pages.views.train.transport import brief_transport, first_verbs, play, verbs
from pages.widgets import fields, notices, plan
from pages.widgets.engine_room import in_engine_room, switch
from pages.widgets.style import STYLE


def watch(run: ExternalRun) -> None:
    """The stage while it shows a run that another process trains."""
    shown = shown_of(run, lesson=True)
    st.html(STYLE)
    if presenting():
        with frame.bar():
            external_run.brief_panel(run)
        notices.show()
        card.lesson_card()
        watched_board(shown)
        return
    left, right = st.columns([2, 9], gap="small")
    with left.container(key="controls"):
        notices.show()
        card.lesson_card()
        external_run.external_run_panel(run)
        external_run.offer_to_watch()
        switch()
        frame.present_button()
    with right:
        watched_board(shown)


def watched_board(shown: Shown) -> None:
    """The board of a run from elsewhere, and what is set up beside it."""
    with st.container(key="on_board", gap=None):
        set_up_card()
        board("train", run="current", shown=shown, engine_room=in_engine_room())


def live_board(run: Run | None, shown: Shown) -> None:
    """The board, with what stands above it and what lies over it."""
    scrubber.status_line("Train")
    with st.container(key="on_board", gap=None):
        with st.container():  # what comes and goes here leaves the board where it is
            set_up_card()
            card.result_card()
            divergence_card(run)
            fork.fork_card(run, "board")
            pin_note.note_card(run)
        board(
            "train",
            run="current",
            shown=shown,
            past=scrubber.displayed_step(),
            verbs=scrubber.allowed("open", "fork", "note") if in_engine_room() else (),
            on_moment=scrubber.handle_request,
            engine_room=in_engine_room(),
            hint=hint(),
            told=is_told(run),
        )


@st.fragment
def stage() -> None:
    """The page."""
    plan.planned()
    card.open_linked()
    if (watched := run_manager().watched) is not None:
        watch(watched)
        return
    run = run_manager().current
    shown = shown_of(run, moment=True, lesson=True)
    settings = plan.settings_shown()
    st.html(STYLE)
    if presenting():
        with frame.bar():
            brief_transport(run)
            fields.exact_rate(settings.lr, plan.change_setting, step_rate)
            fields.speed_list(settings.speed, plan.change_setting)
        notices.show()
        card.lesson_card()
        live_board(run, shown)
        return
    left, right = st.columns([2, 9], gap="small")
    with left.container(key="controls"):
        with st.container():  # what comes and goes here builds none of the controls anew: their keys work throughout
            notices.show()
            external_run.offer_to_watch()
            card.lesson_card()
        with st.container(horizontal=True, gap="xsmall", wrap=False, key="start"):
            play(run)
            card.first_lesson_button(run)
        if all_of_it := in_engine_room():
            verbs(run)
        else:
            first_verbs(run)
        live_knobs(settings)
        switch()
        with st.container(key="more"):
            if all_of_it:
                more_knobs(settings)
                new_run(run)
                sampling()
            share()
            timing = st.empty()
    with right:
        live_board(run, shown)
    with timing.container():
        estimate(run)  # last: it takes a moment, and nothing waits for it


stage()
