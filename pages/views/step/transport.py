"""Previous, next, finish, slow motion; and the rail of the nine stages."""

from __future__ import annotations

import time
from collections.abc import Callable

import streamlit as st

from engine.runs.restored_state import RestoredState
from engine.runs.run import Run
from engine.training.trainer import STAGES
from pages.views.shared.inspected_step import (
    FRESH,
    LANE,
    InspectedStep,
    can_step,
    finish_step,
    next_stage,
    show_restored_stage,
    show_stage,
    source_of,
    start_fresh,
)
from pages.views.step.stages.about import about

PACE_SECONDS = 2.0


def transport(run: Run, shown: InspectedStep) -> None:
    """Previous, next, finish, slow motion, begin again."""
    ready, back = can_step(run), shown.is_earlier
    slow = "step_slow" in st.session_state
    with st.container(horizontal=True, gap="small", key="step_verbs", width="content"):
        st.button(
            "Previous",
            key="step_previous",
            icon=":material/arrow_back:",
            shortcut="Left",
            disabled=slow or shown.done == 0,
            on_click=show_stage,
            args=(run, shown.done - 1),
            help="Look back at the stage before. The run itself does not go back. Key: ←",
        )
        following = STAGES[shown.done % len(STAGES)]
        st.button(
            f"Next: {following}",
            key="step_next",
            type="primary",
            icon=":material/arrow_forward:",
            shortcut="Right",
            disabled=slow or not (ready or back),
            on_click=next_stage,
            args=(run,),
            help="Run the next stage of this step, and no more. Key: →",
        )
        st.button(
            "Finish the step" if 0 < shown.present < len(STAGES) else "Make a whole step",
            key="step_finish",
            icon=":material/skip_next:",
            disabled=slow or not ready,
            on_click=finish_step,
            args=(run,),
            help="Run all stages that are left of this step.",
        )
        st.button(
            "Stop slow motion" if slow else "Slow motion",
            key="step_slow_button",
            icon=":material/stop:" if slow else ":material/slow_motion_video:",
            disabled=not (slow or ready),
            on_click=slow_motion,
            args=(not slow,),
            help="A stage every two seconds, to the end of the step.",
        )
        if source_of(run) == LANE and run.config.preset in FRESH:
            st.button(
                "Begin again",
                key="step_again",
                icon=":material/replay:",
                disabled=slow,
                on_click=start_fresh,
                args=(run.config.preset,),
                help="A fresh run from its first weights: the same seed, the same numbers.",
            )


def slow_motion(on: bool) -> None:
    """Begin or end slow motion; the first stage comes with the next tick."""
    if on:
        st.session_state.step_slow = time.monotonic()
        st.session_state.pop("step_back", None)
    else:
        st.session_state.pop("step_slow", None)


@st.fragment(run_every=PACE_SECONDS)
def slow_motion_stage(run: Run) -> None:
    """Make a stage at each tick until the step ends. Only drawn in slow motion; the board reruns the page."""
    last = st.session_state.get("step_slow")
    if last is None or time.monotonic() - last < 0.8 * PACE_SECONDS:
        return  # drawn along with the page, not called by the clock
    next_stage(run)
    if run.stage == 0 or not can_step(run):
        st.session_state.pop("step_slow", None)
    else:
        st.session_state.step_slow = time.monotonic()


def restored_transport(made: RestoredState, shown: InspectedStep) -> None:
    """Previous and next, through the step after a restored state."""
    with st.container(horizontal=True, gap="small", key="step_verbs", width="content"):
        st.button(
            "Previous",
            key="step_previous",
            icon=":material/arrow_back:",
            shortcut="Left",
            disabled=shown.done == 0,
            on_click=show_restored_stage,
            args=(made, shown.done - 1),
            help="Look at the stage before. Key: ←",
        )
        st.button(
            f"Next: {STAGES[shown.done]}" if shown.done < len(STAGES) else "The step is over",
            key="step_next",
            type="primary",
            icon=":material/arrow_forward:",
            shortcut="Right",
            disabled=shown.done == len(STAGES),
            on_click=show_restored_stage,
            args=(made, shown.done + 1),
            help="Make the next stage of this step again. The run itself goes its own way. Key: →",
        )


def rail(shown: InspectedStep, look: Callable[[int], None]) -> None:
    """The nine stages: done, now, next, to come. Those done can be opened; of a restored step, all of them."""
    with st.container(key="rail"):
        for place, name in enumerate(STAGES):
            done = place < shown.present
            if place == shown.done - 1:
                word = "shown" if shown.is_earlier else "now"
            elif done:
                word = ":green[done]"
            else:
                word = ":orange[next]" if place == shown.present % len(STAGES) else ":gray[to come]"
            st.button(
                f"{place + 1} {name} :small[{word}]",
                key=f"rail_{name}",
                type="primary" if place == shown.done - 1 else "secondary",
                disabled=not (done or shown.past),
                on_click=look,
                args=(place + 1,),
                help=about(name, shown.run.config).document,
            )
