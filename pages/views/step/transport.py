"""Through the stages of the copy: previous, next, slow motion; and what can be asked of the run itself."""

from __future__ import annotations

import time

import streamlit as st

from engine.training.trainer import STAGES
from pages.views.shared.inspected_step import (
    InspectedStep,
    Source,
    can_step,
    look_again,
    make_step,
    pause,
    show_next,
    show_stage,
    train_on,
)

PACE_SECONDS = 2.0
REST = 20
"""Following a run rests so many times as long as a drawing took: training keeps all but a twentieth of its time."""


def transport(shown: InspectedStep) -> None:
    """Previous, next and slow motion. What cannot act is not there."""
    slow = "step_slow" in st.session_state
    with st.container(horizontal=True, gap="small", key="step_verbs", width="content"):
        if shown.done and not slow:
            st.button(
                "Previous",
                key="step_previous",
                icon=":material/arrow_back:",
                shortcut="Left",
                on_click=show_stage,
                args=(shown.done - 1,),
                help="Look at the stage before. Key: ←",
            )
        st.button(
            f"Next: {STAGES[shown.done]}" if shown.done < len(STAGES) else "Next step",
            key="step_next",
            type="primary",
            icon=":material/arrow_forward:",
            shortcut="Right",
            on_click=show_next,
            help="Make the next stage on the copy. After the ninth the copy makes its next step. Key: →",
        )
        st.button(
            "Stop slow motion" if slow else "Slow motion",
            key="step_slow_button",
            icon=":material/stop:" if slow else ":material/slow_motion_video:",
            on_click=slow_motion,
            args=(not slow,),
            help="A stage every two seconds, to the end of the step.",
        )


def run_verbs(source: Source, shown: InspectedStep) -> None:
    """What can be asked of the source now: its present step, to be followed, held, stepped, or to train on."""
    run, follows = source.run, bool(st.session_state.get("step_follow"))
    stands_in = shown.copy.source.id != source.id
    with st.container(horizontal=True, gap="small", key="step_run_verbs", width="content"):
        if source.moving or shown.copy.walked or stands_in:
            st.button(
                "Look at the present step" if source.at != "first" else "Back to its first step",
                key="step_present",
                icon=":material/my_location:",
                on_click=look_again,
                help="Take a new copy, as it is now.",
            )
        if source.moving:
            st.button(
                "Stop following" if follows else "Follow the run",
                key="step_follow_button",
                icon=":material/sync_disabled:" if follows else ":material/sync:",
                on_click=follow,
                args=(not follows,),
                help="Take a new copy now and then, at the same stage, seldom enough not to slow the training down.",
            )
        if run is None:
            return
        if source.moving:
            st.button(
                "Pause it here",
                key="step_pause",
                icon=":material/pause:",
                on_click=pause,
                args=(run,),
                help="Hold the run, for everybody, after the step under way, and look at that moment.",
            )
            return
        if can_step(run):
            st.button(
                "Make this step in the run",
                key="step_finish",
                icon=":material/skip_next:",
                on_click=make_step,
                args=(run,),
                help="The run itself makes one step, for everybody; then its next one is shown here.",
            )
        if run.can_resume:
            st.button(
                "Train on",
                key="step_resume",
                icon=":material/play_arrow:",
                on_click=train_on,
                args=(run,),
                help="Let the run go on from where it stands.",
            )


def slow_motion(on: bool) -> None:
    """Begin or end slow motion; the first stage comes with the next tick."""
    if on:
        st.session_state.step_slow = time.monotonic()
    else:
        st.session_state.pop("step_slow", None)


@st.fragment(run_every=PACE_SECONDS)
def slow_motion_stage() -> None:
    """Show the next stage at each tick until the step ends. Only drawn in slow motion."""
    last = st.session_state.get("step_slow")
    if last is None or time.monotonic() - last < 0.8 * PACE_SECONDS:
        return  # drawn along with the page, not called by the clock
    show_next()
    if st.session_state.step_stage == len(STAGES):
        slow_motion(False)
    else:
        st.session_state.step_slow = time.monotonic()
    st.rerun()


def follow(on: bool) -> None:
    """Take new copies from now on, or no longer."""
    st.session_state.step_follow = on
    if on:
        look_again()


def follower(drawing_seconds: float) -> None:
    """Take a new copy after a rest; only drawn while a run that trains is followed."""
    rest = max(PACE_SECONDS, REST * drawing_seconds)
    drawn = time.monotonic()

    @st.fragment(run_every=rest)
    def take() -> None:
        if time.monotonic() - drawn > 0.8 * rest:  # called by the clock
            look_again()
            st.rerun()

    take()
