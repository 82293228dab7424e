"""One step of the copy: one token's way through the nine stages, and beneath it the tensors and the code."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.views.shared.inspected_step import InspectedStep, find_source, inspected
from pages.views.step.canvas import canvas
from pages.views.step.stages.about import about
from pages.views.step.stages.views import inventory_table, stage_details
from pages.views.step.transport import run_verbs, slow_motion_stage, transport
from pages.widgets.glossary import DOCUMENTS


def this_step(bar: DeltaGenerator, opened: bool) -> None:
    """The step of the present moment's copy; its buttons go into `bar`."""
    shown = inspected(opened)
    with bar:
        transport(shown)
    if "step_slow" in st.session_state:
        slow_motion_stage()
    with st.container(horizontal=True, vertical_alignment="center", key="step_where"):
        st.text(where(shown), width="content")
        run_verbs(find_source(), shown)
    canvas(shown)
    beneath(shown)


def where(shown: InspectedStep) -> str:
    """What is on show, in a sentence; it contains the text's title."""
    copy, step = shown.copy, shown.copy.taken
    told = f"{copy.source.told}, " + ("before its first step" if step == 0 else f"as it was after step {step:,}")
    if copy.walked:
        told += f", and {copy.walked:,} more made here on the copy" if copy.walked > 1 else ", and one more on the copy"
    return f"{told}."


def beneath(shown: InspectedStep) -> None:
    """The tensors and the code of the stage, folded away until somebody asks."""
    words = about(shown.stage, shown.config)
    code = st.expander("The code of this stage", key="step_code", icon=":material/code:", on_change="rerun")
    if code.open:
        with code:
            st.code(words.code, language="python", wrap_lines=True)
            st.text(words.purpose, help=f"In the teaching documents: {words.document}. {DOCUMENTS}")
            st.text(words.underneath)
    tensors = st.expander("The tensors of this stage", key="step_tensors", icon=":material/grid_on:", on_change="rerun")
    if tensors.open:
        with tensors:
            left, right = st.columns([3, 8], gap="medium")
            with left:
                inventory_table(shown)
            with right:
                stage_details(shown)
