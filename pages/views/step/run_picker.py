"""What to step through: the room's run, or a fresh one."""

from __future__ import annotations

import streamlit as st

from engine.runs.manager import run_manager
from engine.runs.run import Run
from pages.views.shared.inspected_step import (
    CURRENT,
    FRESH,
    select_run,
)

SELECTED_STYLE = ".st-key-source_NAME button { box-shadow: inset 0 -3px var(--st-primary-color, #4C9BD0); }"


def run_picker(run: Run | None) -> None:
    """What to step through: the room's run, or a fresh one. Buttons, since these leave the arrow keys to the page."""
    now = CURRENT if run is not None and run is run_manager().current else run.config.preset if run else ""
    st.html(f"<style>{SELECTED_STYLE.replace('NAME', now)}</style>" if now in (CURRENT, *FRESH) else "<style></style>")
    with st.container(horizontal=True, gap="xsmall", key="step_sources", width="content"):
        for name in [CURRENT, *FRESH] if run_manager().current else FRESH:
            st.button(
                "room's run" if name == CURRENT else FRESH[name],
                key=f"source_{name}",
                on_click=select_run,
                args=(name,),
                help="The room's current run: pausing and stepping it is seen by everybody."
                if name == CURRENT
                else "A fresh run of its own, beside the room's: it waits at step 0.",
            )
