"""A note pinned at a step of the room's run, written on the stage and shown on its charts and on Compare.

A session keeps only that the card is open, and for which step.
"""

from __future__ import annotations

import streamlit as st

from engine.errors import InputError
from engine.runs.run import Run
from engine.storage import notes
from pages.widgets import notices
from pages.widgets.over import over

STATE_KEY = "pinning"


def ask(run: str, step: int) -> None:
    """Open the card for a note at `step` of `run`."""
    st.session_state[STATE_KEY] = run, step


def cancel() -> None:
    """Close the card."""
    st.session_state.pop(STATE_KEY, None)


def note_card(run: Run | None) -> None:
    """The card, while it is open."""
    about, step = st.session_state.get(STATE_KEY, ("", 0))
    if run is None or run.id != about:
        return
    with over("board"), st.form("note", border=False):
        st.text_area(f"note at step {step:,}", key="note_words", max_chars=notes.LONGEST_NOTE)
        st.caption("Everybody sees it on the charts. Compare lists a run's notes and removes them.")
        st.form_submit_button("Pin it", key="pin", type="primary", on_click=pin, args=(run, step), width="stretch")
        st.form_submit_button("Cancel", key="pin_cancel", on_click=cancel, width="stretch")


def pin(run: Run, step: int) -> None:
    """Save the note."""
    if run.store is None:
        return
    try:
        notes.add(run.store.folder, st.session_state.note_words, step)
    except InputError as error:
        notices.add(str(error))
    else:
        cancel()
