"""Start, pause, single steps, stop, reset, fork, undo; and the question before a run under way is stopped."""

from __future__ import annotations

import streamlit as st

from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.stream.status import State
from pages.views.train import fork
from pages.widgets import actions
from pages.widgets.icon_button import icon_button
from pages.widgets.over import over
from pages.widgets.play_button import play_button


def play_label(run: Run | None) -> str:
    """What the large button does now."""
    if run is not None and run.state is State.RUNNING:
        return "Pause"
    return "Resume" if run is not None and run.state is State.PAUSED else "Start"


def play(run: Run | None) -> None:
    """The large button."""
    asking = actions.asked("verbs") is not None
    play_button(play_label(run), actions.play, key="play", disabled=asking, help="Start, pause, resume. Key: space.")


def first_verbs(run: Run | None) -> None:
    """What a beginner needs beside it: one step, and the same start again."""
    asking = actions.asked("verbs") is not None
    with st.container(key="asks_here"):
        with st.container(horizontal=True, gap="xsmall", wrap=False, key="verbs"):
            one_step(asking)
            reset_button(run, asking)
        with st.container(key="answers"):  # what comes and goes here builds none of the controls anew
            answers()


def verbs(run: Run | None) -> None:
    """All that can be done with the run, with their keys."""
    with st.container(key="asks_here"):
        _verbs(run, actions.asked("verbs") is not None)
        with st.container(key="answers"):  # as for a beginner's
            answers()
            fork.fork_card(run, "verbs")
    with st.container():  # as for the answers
        if run is not None and run.state is State.STOPPED and run.can_resume:
            st.button("Go on with this run", on_click=run.start, width="stretch")


def answers() -> None:
    """What the verbs ask, over what stands below them."""
    if (question := actions.asked("verbs")) is not None:
        with over("verbs"):
            confirmation(question)


def _verbs(run: Run | None, asking: bool) -> None:
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="verbs"):
        one_step(asking)
        st.button("+10", key="ten", on_click=actions.make_steps, args=(10,), disabled=asking, help="Ten steps.")
        icon_button(
            "Stop",
            "stop",
            ":material/stop:",
            on_click=run.stop if run else None,
            disabled=asking or not (run and run.alive),
            help="Stop: end this run.",
        )
        reset_button(run, asking)
        icon_button(
            "Fork",
            "fork_now",
            ":material/fork_right:",
            on_click=fork.ask,
            disabled=asking or run is None,
            help="Fork: go on from this step, or an earlier one, in a new run that is turned another way.",
        )
        icon_button(
            "Bring the previous run back",
            "undo",
            ":material/undo:",
            on_click=actions.undo,
            disabled=asking or run_manager().previous is None,
            help="Bring the previous run back.",
        )


def brief_transport(run: Run | None) -> None:
    """What a lesson needs of it, in the presenter's bar: without help, which in large type would cover the buttons."""
    asking = actions.asked("verbs") is not None
    play_button(play_label(run), actions.play, key="play", disabled=asking, help=None, width="content")
    one_step(asking)
    reset_button(run, asking)
    answers()


def one_step(asking: bool) -> None:
    """Make one step."""
    st.button(
        "+1",
        key="one",
        shortcut="Right",
        on_click=actions.make_steps,
        args=(1,),
        disabled=asking,
        help="One step. Key: →",
    )


def reset_button(run: Run | None, asking: bool) -> None:
    """Go back to the same start."""
    icon_button(
        "Reset",
        "reset",
        ":material/replay:",
        shortcut="Backspace",
        on_click=actions.request,
        args=("reset",),
        disabled=asking or run is None,
        help="Reset to the same start: same seed, same curve. Key: Backspace.",
    )


def confirmation(question: actions.Question) -> None:
    """A new start or a reset would end a run: stop it and go on, or cancel."""
    verb = {"start": "start the new run", "reset": "reset"}[question.action]
    st.text(f"{question.about}. Stop it and {verb}?")
    yes, no = st.columns(2)
    yes.button("Stop it", type="primary", on_click=actions.confirm, args=(question.action,), width="stretch")
    no.button("Cancel", on_click=lambda: st.session_state.pop("asking", None), width="stretch")
