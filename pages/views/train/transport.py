"""Start, pause, single steps, stop, reset, fork, undo; and the question before a run under way is stopped."""

from __future__ import annotations

import streamlit as st

from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.stream.status import State
from pages.views.train import fork
from pages.widgets import actions
from pages.widgets.play_button import play_button


def transport(run: Run | None) -> None:
    """The buttons, with their keys."""
    running = run is not None and run.state is State.RUNNING
    paused = run is not None and run.state is State.PAUSED
    asking, presenter = "asking" in st.session_state, st.session_state.get("presenter", False)
    label = "Pause" if running else "Resume" if paused else "Start"
    play_button(
        label,
        actions.play,
        key="play",
        disabled=asking,
        help=None if presenter else "Start, pause, resume. Key: space.",  # in large type it would cover the buttons
    )
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="verbs"):
        st.button(
            "+1",
            key="one",
            shortcut="Right",
            on_click=actions.make_steps,
            args=(1,),
            disabled=asking,
            help="One step. Key: →",
        )
        st.button("+10", key="ten", on_click=actions.make_steps, args=(10,), disabled=asking, help="Ten steps.")
        st.button(
            "",
            key="stop",
            icon=":material/stop:",
            on_click=run.stop if run else None,
            disabled=asking or not (run and run.alive),
            help="Stop: end this run.",
        )
        st.button(
            "",
            key="reset",
            icon=":material/replay:",
            shortcut="Backspace",
            on_click=actions.request,
            args=("reset",),
            disabled=asking or run is None,
            help="Reset to the same start: same seed, same curve. Key: Backspace.",
        )
        if not presenter:
            st.button(
                "",
                key="fork_now",
                icon=":material/fork_right:",
                on_click=fork.ask,
                disabled=asking or run is None,
                help="Fork: go on from this step, or an earlier one, in a new run that is turned another way.",
            )
        st.button(
            "",
            key="undo",
            icon=":material/undo:",
            on_click=actions.undo,
            disabled=asking or run_manager().previous is None,
            help="Bring the previous run back.",
        )
    with st.container():  # as for what is above the verbs
        if run is not None and run.state is State.STOPPED and run.can_resume:
            st.button("Go on with this run", on_click=run.start, width="stretch")


def confirmation() -> None:
    """A new start or a reset would end a run: stop it and go on, or cancel."""
    action, about = st.session_state.asking
    verb = {"start": "start the new run", "reset": "reset"}[action]
    with st.container(border=True):
        st.text(f"{about}. Stop it and {verb}?")
        yes, no = st.columns(2)
        yes.button("Stop it", type="primary", on_click=actions.confirm, args=(action,), width="stretch")
        no.button("Cancel", on_click=lambda: st.session_state.pop("asking"), width="stretch")
