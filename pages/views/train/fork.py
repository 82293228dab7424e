"""Forking: at which step a new run leaves the room's run, and with which settings.

A session keeps only that the card is open.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine.config import MAX_STEPS
from engine.runs.manager import run_manager
from engine.runs.run import Run
from pages.widgets import actions, fields
from pages.widgets.over import over

STATE_KEY = "forking"
KNOBS = {
    "lr": "learning rate",
    "batch_size": "batch size",
    "weight_decay": "weight decay",
    "grad_clip": "gradient clip",
}
UNCHANGED = "as it was"


def ask(step: int | None = None, place: str = "verbs") -> None:
    """Open the card at `place`, with `step` filled in, or empty for where the run stands."""
    for name in ("step", "max_steps", *KNOBS):
        st.session_state.pop(f"fork_{name}", None)
    st.session_state[STATE_KEY] = step, place


def cancel() -> None:
    """Close the card."""
    st.session_state.pop(STATE_KEY, None)


def fork_card(run: Run | None, here: str) -> None:
    """The card, while it is open `here`: at which step, and what to change there."""
    step, place = st.session_state.get(STATE_KEY, (None, ""))
    if place != here or run is None:
        return
    st.session_state.setdefault("fork_step", step)
    with over(here), st.form("fork", border=False):
        st.text(
            "Fork: a new run goes on from that step with the same weights, optimizer state and random numbers. "
            "This run is paused and loses nothing; undo brings it back."
        )
        left, right = st.columns(2)
        whole_number(left, "step", "at step", 0, MAX_STEPS, "now")
        whole_number(right, "max_steps", "iterations", 1, MAX_STEPS)
        for place, (name, label) in zip((left, right, left, right), KNOBS.items(), strict=True):
            low, high = fields.bounds(fields.field_of(name))
            if name == "batch_size":
                whole_number(place, name, label, int(low or 0), int(high or 0))
            else:
                place.number_input(label, low, high, None, key=f"fork_{name}", format="%.4g", placeholder=UNCHANGED)
        st.form_submit_button("Fork there", key="fork", type="primary", on_click=fork, width="stretch")
        st.form_submit_button("Cancel", key="fork_cancel", on_click=cancel, width="stretch")


def whole_number(place: Any, name: str, label: str, low: int, high: int, empty: str = UNCHANGED) -> None:
    """A whole number, which may be left empty."""
    place.number_input(label, low, high, None, key=f"fork_{name}", placeholder=empty)


def fork() -> None:
    """Fork at the step that was filled in, or where the run stands, with the changes that were filled in."""
    state = st.session_state
    changes = {name: value for name in ("max_steps", *KNOBS) if (value := state.get(f"fork_{name}")) is not None}
    if actions.switch_to(lambda: run_manager().fork(state.get("fork_step"), replace=True, **changes)):
        cancel()
