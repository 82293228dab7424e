"""The frame around every page: the way into presenter mode, and the slim bar that is at the top of the screen then.

The bar has the pages (Streamlit's own navigation), play, learning rate and speed of what the page shows, and the way
out. The page's board lays the scrubber along the bottom of the screen. A session keeps that it presents, from page to
page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.runs.manager import run_manager
from engine.runs.run import Run
from pages.board.board import board, shown_of
from pages.charts.static import presenting
from pages.views.train.knobs import step_rate
from pages.views.train.transport import answers, play_label
from pages.widgets import actions, fields, notices, plan
from pages.widgets.icon_button import icon_button
from pages.widgets.play_button import play_button
from pages.widgets.style import PRESENTER_STYLE


def present_button() -> None:
    """Switch presenter mode on or off."""
    if presenting():
        icon_button("Leave presenter mode", "present", ":material/close_fullscreen:", shortcut="P", on_click=switch)
        return
    st.button(
        "Present",
        key="present",
        icon=":material/fullscreen:",
        shortcut="P",
        width="stretch",
        help="Large type, no side controls, on every page. Key: p",
        on_click=switch,
    )


def switch() -> None:
    """Begin to present, or stop."""
    st.session_state.presenter = not presenting()


@contextmanager
def bar() -> Iterator[None]:
    """In presenter mode: what is drawn within stands in the bar, and the way out after it."""
    st.html(PRESENTER_STYLE)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False, key="bar"):
        yield
        present_button()


def room_bar(run: Run | None) -> None:
    """The frame of a page that has no controls of its own: those of the room's run, while one presents."""
    if not presenting():
        with st.container(key="present_only"):
            present_button()
        return
    plan.planned()
    settings = plan.settings_shown()
    with bar():
        play_button(play_label(run), actions.play, key="play", help=None, width="content")
        fields.exact_rate(settings.lr, plan.change_setting, step_rate, keys=False)
        fields.speed_list(settings.speed, plan.change_setting)
        answers()
    notices.show_once()


def columns(left: int, right: int) -> Sequence[DeltaGenerator]:
    """Two columns of these shares of the width; below each other in large type."""
    return [st.container(), st.container()] if presenting() else st.columns([left, right], gap="medium")


@st.fragment
def room_frame() -> None:
    """The frame of a page that shows nothing of a run: the bar, and a board that is only its header and scrubber."""
    run = run_manager().current
    shown = shown_of(run)
    room_bar(run)
    if presenting():
        with st.container(key="header"):
            board("frame", shown=shown)
