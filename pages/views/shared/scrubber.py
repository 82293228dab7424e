"""What the board's scrubber opens: an earlier step of the room's run, restored by the engine for this session.

Train and the pages that look into a model then show that step instead of the newest one, and a line says so. The run
trains on meanwhile. A session keeps which step it has opened.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine.errors import InputError
from engine.models import registry
from engine.runs.manager import run_manager
from engine.runs.restored_state import TIME_LIMIT, RestoredState
from pages.views.train import fork, pin_note
from pages.widgets import notices

SOON = 0.3  # seconds: a moment that is made within them shows no progress
BEAT_SECONDS = 0.3
STATE_KEY = "past"
LINKS = {"Train": "train.py", "Step": "step.py", "Inside": "inside.py", "Embeddings": "embeddings.py"}
STYLE = """<style>
.st-key-past { border-left: 4px solid var(--st-text-color, currentColor); padding: 2px 12px; gap: 0.4rem 0.9rem;
  background: var(--st-secondary-background-color, transparent); border-radius: 6px; }
.st-key-past [data-testid="stText"] { font-weight: 600; }
</style>"""


def selected() -> RestoredState | None:
    """The state that this session has opened, restored or on its way; None while the session is live."""
    made: RestoredState | None = st.session_state.get(STATE_KEY)
    if made is not None and run_manager().source("current") is not made.run:  # another run is on the stage
        return_to_live()
        return None
    return made


def restored() -> RestoredState | None:
    """The restored state to show; None while the newest one is on show, or while it is still being restored."""
    made = selected()
    return made if made is not None and made.paused_state is not None else None


def is_restoring() -> bool:
    """Is one being restored now?"""
    made = selected()
    return made is not None and made.in_progress


def displayed_step() -> int | None:
    """The step to show on the board; None for the newest."""
    made = restored()
    return None if made is None else made.step


def allowed(*wanted: str) -> tuple[str, ...]:
    """Which of these commands the scrubber may offer: none for a run that another process writes."""
    return wanted if run_manager().watched is None else ()


def open_step(step: int) -> None:
    """Restore the state that the room's run had at `step`."""
    try:
        made = st.session_state[STATE_KEY] = run_manager().restore_step(step)
        made.wait(SOON)
    except InputError as error:
        notices.add(str(error))


def return_to_live() -> None:
    """Go back to the newest step, on every page; cancels a restoration under way."""
    made: RestoredState | None = st.session_state.pop(STATE_KEY, None)
    if made is not None:
        made.close(0)


def handle_request(asked: Any) -> None:
    """Carry out a request of the board's scrubber; anything else that a script may send is ignored."""
    if not isinstance(asked, dict) or type(asked.get("step")) is not int:
        return
    run = run_manager().current
    if run is None or asked.get("run") != run.id:
        return
    if asked.get("verb") == "open":
        open_step(asked["step"])
    elif asked.get("verb") == "fork":
        pin_note.cancel()
        fork.ask(asked["step"], "board")
    elif asked.get("verb") == "note":
        fork.cancel()
        pin_note.ask(run.id, max(0, asked["step"]))
    elif asked.get("verb") == "live":
        return_to_live()


def status_line(here: str) -> None:
    """Say which step is on show on the page called `here`, with links to other pages and back to live."""
    made = selected()
    if made is None:
        return
    st.html(STYLE)
    with st.container(horizontal=True, vertical_alignment="center", key="past"):
        if made.in_progress:
            progress(made)
        elif made.paused_state is None:
            st.text(f"{made.error[:1].upper()}{made.error[1:]}.", width="content")
        else:
            st.text(describe(made), width="content")
            page_links(made, here)
            if here == "Train":
                st.button("Fork here", key="past_fork", on_click=fork.ask, args=(made.step, "board"))
        word = "Cancel" if made.in_progress else "Live"
        st.button(
            word,
            key="past_live",
            type="primary",
            on_click=return_to_live,
            help="Back to the newest step, on every page.",
        )


@st.fragment(run_every=BEAT_SECONDS)
def progress(made: RestoredState) -> None:
    """How far the restoration is; reruns the page when it is done."""
    if not made.in_progress:
        st.rerun()
    st.progress(made.progress, f"Step {made.requested_step:,} is being made again: step {made.step:,}")


def describe(made: RestoredState) -> str:
    """Which step it is, and how it was restored."""
    if made.step != made.requested_step:
        return (
            f"Step {made.step:,}, past. Step {made.requested_step:,} is too far from its snapshot, of step "
            f"{made.snapshot_step:,}, to be made again in {TIME_LIMIT:.0f} s."
        )
    how = (
        "its snapshot"
        if made.step == made.snapshot_step
        else f"made again from the snapshot of step {made.snapshot_step:,}"
    )
    return f"Step {made.step:,}, past: {how}."


def page_links(made: RestoredState, here: str) -> None:
    """Links to the other pages that show this step, and to a GPT's attention."""
    features = registry.find(made.run.config.model).features
    for name, page in LINKS.items():
        if name != here and (name != "Embeddings" or "embedding" in features):
            st.page_link(page, label=name)
    if here != "Inside" and "attention" in features:
        st.page_link("inside.py", label="Attention", query_params={"look": "Attention"})
