"""The step under way of the chosen run, or the one after a restored state, stage by stage."""

from __future__ import annotations

from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.errors import InputError
from engine.runs.run import Run
from engine.stream.status import State
from engine.training.trainer import STAGES
from pages.views.shared import scrubber
from pages.views.shared.inspected_step import (
    MOST_PARAMETERS,
    InspectedStep,
    inspect_restored,
    inspect_step,
    pause,
    show_restored_stage,
    show_stage,
    why_it_cannot_step,
)
from pages.views.step.stages.about import about
from pages.views.step.stages.views import inventory_table, stage_details
from pages.views.step.transport import rail, restored_transport, slow_motion_stage, transport
from pages.widgets.glossary import DOCUMENTS

BUILD_SECONDS = 10.0


def this_step(run: Run, bar: DeltaGenerator) -> None:
    """The step under way, or the one after a restored state; its buttons go into `bar`."""
    made = scrubber.selected()
    if made is None and run.state is State.RUNNING:
        with bar:
            st.button(
                "Pause it here",
                key="step_pause",
                type="primary",
                icon=":material/pause:",
                on_click=pause,
                args=(run,),
                help="Hold the run, for everybody, after the step under way.",
            )
        st.text("This run is training. Pause it to open the step that it has reached, or choose a fresh run.")
        return
    run.built.wait(BUILD_SECONDS)
    if run.parameters > MOST_PARAMETERS:
        st.text(
            f"This model has {run.parameters:,} parameters: a copy of its weights, gradients and moments at every "
            f"stage is too heavy above {MOST_PARAMETERS:,}. Choose a fresh small GPT above; it has the same parts."
        )
    elif made is None:
        current_step(run, bar)
    elif made.paused_state is not None:
        shown = inspect_restored(made)
        with bar:
            restored_transport(made, shown)
        rail(shown, partial(show_restored_stage, made))
        stage_view(shown)


def current_step(run: Run, bar: DeltaGenerator) -> None:
    """The step under way of a run that stands still."""
    if sentence := st.session_state.get("step_notice") or why_it_cannot_step(run):
        st.text(sentence)
    try:
        shown = inspect_step(run)
    except InputError as error:
        st.text(str(error))
        return
    with bar:
        transport(run, shown)
    rail(shown, partial(show_stage, run))
    if "step_slow" in st.session_state:
        slow_motion_stage(run)
    stage_view(shown)


def stage_view(shown: InspectedStep) -> None:
    """What the stage is for, and its tensors."""
    left, right = st.columns([3, 8], gap="medium")
    with left:
        words = about(shown.stage, shown.run.config)
        st.subheader(f"{shown.done} {shown.stage}" if shown.stage else "Before the step")
        now = STAGES[shown.present - 1]
        told = f"Looking back: the run itself stands after {now}." if shown.is_earlier else words.document
        st.caption(told, help=DOCUMENTS)
        st.code(words.code, language="python", wrap_lines=True)
        st.text(words.purpose)
        st.caption(words.underneath)
        inventory_table(shown)
    with right:
        stage_details(shown)
