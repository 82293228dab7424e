"""The stage: a run's controls at the left, the live board beside them. Holds no training state.

The whole page is one fragment. It never polls: the board listens to the engine and reruns the page when the run, its
state or its settings are no longer what was drawn. A session keeps only what its person has prepared and not started
yet (a preset, another text).
"""

from __future__ import annotations

import streamlit as st

from engine.runs.manager import run_manager
from engine.tracking.external_run import ExternalRun
from pages.board.board import board, shown_of
from pages.views.shared import scrubber
from pages.views.train import external_run, fork, pin_note
from pages.views.train.divergence import divergence_card
from pages.views.train.knobs import live_knobs, more_knobs
from pages.views.train.new_run import estimate, new_run
from pages.views.train.sampling import sampling
from pages.views.train.share import present_button, share
from pages.views.train.transport import confirmation, transport
from pages.widgets import fields, notices, plan
from pages.widgets.style import STYLE, STYLE_PRESENTER


def watch(run: ExternalRun) -> None:
    """The stage while it shows a run that another process trains."""
    shown = shown_of(run)
    presenter = st.session_state.get("presenter", False)
    st.html(STYLE + (STYLE_PRESENTER if presenter else ""))
    left, right = st.columns([2, 9], gap="small")
    with left.container(key="controls"):
        notices.show()
        external_run.external_run_panel(run, presenter)
        if not presenter:
            external_run.offer_to_watch()
        present_button("Leave presenter mode" if presenter else "Present")
    with right:
        board("train", run="current", shown=shown, presenter=presenter)


@st.fragment
def stage() -> None:
    """The page."""
    if (watched := run_manager().watched) is not None:
        watch(watched)
        return
    run = run_manager().current
    shown = shown_of(run, moment=True)
    plan.planned()
    settings = plan.settings_shown()
    presenter = st.session_state.get("presenter", False)
    st.html(STYLE + (STYLE_PRESENTER if presenter else ""))
    left, right = st.columns([2, 9], gap="small")
    with left.container(key="controls"):
        with st.container():  # what comes and goes here builds none of the controls anew: their keys work throughout
            if "asking" in st.session_state:
                confirmation()
            fork.fork_card(run)
            pin_note.note_card(run)
            notices.show()
            if not presenter:
                external_run.offer_to_watch()
        transport(run)
        live_knobs(settings)
        if not presenter:
            fields.iterations(settings.max_steps, plan.change_setting)
            with st.container(key="more"):
                more_knobs(settings)
                new_run(run)
                sampling()
                share()
                timing = st.empty()
        else:
            present_button("Leave presenter mode")
    with right:
        divergence_card(run)
        scrubber.status_line("Train")
        board(
            "train",
            run="current",
            shown=shown,
            presenter=presenter,
            past=scrubber.displayed_step(),
            verbs=scrubber.allowed("open", "fork", "note"),
            on_moment=scrubber.handle_request,
        )
    if not presenter:
        with timing.container():
            estimate(run)  # last: it takes a moment, and nothing waits for it


stage()
