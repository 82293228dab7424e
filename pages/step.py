"""One optimizer update, stage by stage: the rail, the buttons, and what exists at each stage. Holds no training state.

It shows a copy at the same stage as the run (`engine.training.state.replay`); the buttons move the run itself.
"""

from __future__ import annotations

import streamlit as st

from pages.board.board import board, shown_of
from pages.views.shared import scrubber
from pages.views.shared.inspected_step import (
    selected_run,
    source_of,
    start_fresh,
)
from pages.views.shared.try_this import try_this
from pages.views.step.experiments import what_if
from pages.views.step.run_picker import run_picker
from pages.views.step.small_examples import small_examples
from pages.views.step.this_step import this_step
from pages.widgets.style import STYLE

PAGE_STYLE = """<style>
.st-key-rail { display: grid; grid-template-columns: repeat(9, minmax(0, 1fr)); gap: 6px; }
.st-key-rail > div { width: 100%; }
.st-key-rail button { padding: 0.2rem 0.3rem; min-height: 3.1rem; width: 100%; }
.st-key-rail button p { line-height: 1.25; }
.st-key-rail button small { display: block; }
.st-key-step_views { border-bottom: 1px solid var(--st-border-color, #88888855); }
.st-key-step_views button { border-radius: 0; padding: 0.3rem 0; }
.st-key-step_sources button, .st-key-step_verbs button { white-space: nowrap; }
@media (max-width: 860px) { .st-key-rail { grid-template-columns: repeat(3, minmax(0, 1fr)); } }
@media (max-width: 640px) { /* a stage is long there, and the way on stays in reach */
  .st-key-step_next { position: fixed; right: 1rem; bottom: 1rem; z-index: 10; }
  [data-testid="stMainBlockContainer"] { padding-bottom: 4.5rem; }
}
</style>"""
TABS = ("This step", "What if", "Small examples")
OPEN_TAB_STYLE = ".st-key-tab_NAME button { color: var(--st-primary-color, #4C9BD0); border-bottom: 2px solid; }"


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
    run = selected_run()
    if run is None:
        start_fresh("bigram")
        run = selected_run()
    shown = shown_of(run, moment=True)
    st.html(STYLE + PAGE_STYLE)
    board("step", run=source_of(run), shown=shown)
    scrubber.status_line("Step")
    tab = tabs()
    if tab == "What if":
        what_if()
    elif tab == "Small examples":
        small_examples()
    else:
        bar = st.container(horizontal=True, gap="medium", key="step_bar")
        with bar:
            run_picker(run)
        if run is not None:
            this_step(run, bar)
    try_this("Step")


page()
