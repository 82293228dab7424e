"""One optimizer update, stage by stage: one token followed through all nine. Holds no training state.

What is taken apart is a copy (`pages.views.shared.inspected_step`); a run moves only where a button says so.
"""

from __future__ import annotations

import time

import streamlit as st

from engine.runs.manager import run_manager
from pages.board.board import board, shown_of
from pages.views.lessons.course import lessons_about
from pages.views.shared import frame, scrubber
from pages.views.shared.inspected_step import find_source
from pages.views.step.experiments import what_if
from pages.views.step.run_picker import run_picker
from pages.views.step.small_examples import small_examples
from pages.views.step.this_step import this_step
from pages.views.step.transport import follower
from pages.widgets.style import STYLE
from pages.widgets.tabs import OPEN

PAGE_STYLE = """<style>
.st-key-step_views { border-bottom: 1px solid var(--st-border-color, #88888855); }
.st-key-step_views button { border-radius: 0; padding: 0.3rem 0; }
.st-key-step_sources button, .st-key-step_verbs button, .st-key-step_run_verbs button { white-space: nowrap; }
@media (max-width: 640px) { /* a stage is long there, and the way on stays in reach */
  .st-key-step_next { position: fixed; right: 1rem; bottom: 1rem; z-index: 10; }
  [data-testid="stMainBlockContainer"] { padding-bottom: 4.5rem; }
}
</style>"""
TABS = ("This step", "What if", "Small examples")
OPEN_TAB_STYLE = ".st-key-tab_NAME button { color: OPEN; border-bottom: 2px solid; }".replace("OPEN", OPEN)


def tabs() -> str:
    """Which of the page's three views is open. Buttons: Streamlit's tabs would take the arrow keys for themselves."""
    chosen = str(st.session_state.get("step_tab", TABS[0]))
    with st.container(horizontal=True, gap="medium", key="step_views"):
        for name in TABS:
            st.button(
                name,
                key=f"tab_{name.replace(' ', '_')}",
                type="tertiary",
                on_click=lambda opened: st.session_state.update(step_tab=opened),
                args=(name,),
            )
    st.html(f"<style>{OPEN_TAB_STYLE.replace('NAME', chosen.replace(' ', '_'))}</style>")
    return chosen


@st.fragment
def page() -> None:
    """The page."""
    began = time.perf_counter()
    opened = "step_next" not in st.session_state  # a button's state goes when its page is left
    shown = shown_of(run_manager().current, moment=True)
    st.html(STYLE + PAGE_STYLE)
    frame.room_bar(run_manager().current)
    board(
        "step",
        shown=shown,
        past=scrubber.displayed_step(),
        verbs=scrubber.allowed("open"),
        on_moment=scrubber.handle_request,
    )
    scrubber.status_line("Step")
    tab = tabs()
    if tab == "What if":
        what_if()
    elif tab == "Small examples":
        small_examples()
    else:
        bar = st.container(horizontal=True, gap="medium", key="step_bar")
        with bar:
            run_picker()
        this_step(bar, opened)
        if st.session_state.get("step_follow") and find_source().moving:
            follower(time.perf_counter() - began)
    lessons_about("step")


page()
