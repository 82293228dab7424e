"""What to take apart: the room's run, or the first step of a preset."""

from __future__ import annotations

import streamlit as st

from engine.runs.manager import run_manager
from pages.views.shared import scrubber
from pages.views.shared.inspected_step import CURRENT, FRESH, select_source

SELECTED_STYLE = ".st-key-source_NAME button { box-shadow: inset 0 -3px var(--st-primary-color, #4C9BD0); }"


def run_picker() -> None:
    """The room's run, if there is one, and the presets. Buttons, since these leave the arrow keys to the page."""
    manager = run_manager()
    there = manager.current is not None or manager.watched is not None
    now = st.session_state.get("step_source", CURRENT if there else "bigram")
    if scrubber.restored() is not None:
        now = CURRENT
    st.html(f"<style>{SELECTED_STYLE.replace('NAME', now)}</style>")
    with st.container(horizontal=True, gap="xsmall", key="step_sources", width="content"):
        for name in [CURRENT, *FRESH] if there else FRESH:
            st.button(
                "This run" if name == CURRENT else FRESH[name],
                key=f"source_{name}",
                on_click=select_source,
                args=(name,),
                help="A copy of the run on the stage. Whatever you do here, the run does not notice."
                if name == CURRENT
                else "The very first step of such a model. It needs no run, and leaves yours alone.",
            )
