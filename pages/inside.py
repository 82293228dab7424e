"""Inside: the model as it is now, taken apart. Holds no training state.

The weights are a copy of the room's run at one step. While the run runs, the copy stays until somebody looks again;
while it stands still, the copy follows it. Each view computes its own, and only the one on show does.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from engine.errors import InputError
from engine.models import registry
from engine.runs.manager import RunActive, run_manager
from engine.runs.run import Run
from engine.stream.status import State
from pages.board.board import board, shown_of
from pages.views.inside import attention, generation, parameters, questions, shapes, table
from pages.views.inside.inspected_model import Look, again, default, look
from pages.views.shared import scrubbed_moment
from pages.views.shared.try_this import try_this
from pages.widgets import open_on_train
from pages.widgets.style import STYLE

VIEWS: dict[str, Callable[[Look], None]] = {
    "Shapes": shapes.show,
    "Table": table.show,
    "Attention": attention.show,
    "Generation": generation.show,
    "Parameters": parameters.show,
    "Questions": questions.show,
}
OF_TEXT = ("Shapes", "Generation", "Questions")


def start() -> None:
    """A run of the default experiment, for the whole room."""
    begin = default()
    try:
        run_manager().start(begin.config, begin.settings)
    except RunActive:
        pass  # somebody else was quicker: that run is on show next
    except InputError as error:
        st.session_state["inside_said"] = str(error)


def missing(view: str, seen: Look) -> tuple[str, str]:
    """What the view needs that this model is not, in one sentence, and a preset that has it; empty if it has all."""
    trains = f"the model here is a {seen.config.model}"
    if view == "Table" and "pairs" not in seen.model.features:
        return f"The table of pairs is what a bigram consists of; {trains}.", "bigram"
    if view == "Attention" and "attention" not in seen.model.features:
        return f"Attention is what a GPT does; {trains}, which looks at no other token.", "gpt-tiny"
    if view in OF_TEXT and seen.text() is None:
        return f"This view needs a model of text; {trains}. Its parameters are under Parameters.", "bigram"
    return "", ""


def standing(run: Run | None, seen: Look) -> None:
    """Which weights are on show, and how to see newer ones."""
    if scrubbed_moment.ready() is not None:
        return  # its line says it
    with st.container(horizontal=True, vertical_alignment="center", key="inside_standing"):
        if run is None:
            st.text("No run yet: these are the weights of an untrained bigram on the default text.")
            st.button("Start a run", type="primary", on_click=start, help="Train this bigram, for everyone to see.")
            return
        st.text(f"The weights after step {seen.step:,}.")
        st.button(
            "Look again",
            on_click=again,
            disabled=run.state is not State.RUNNING,
            icon=":material/refresh:",
            help="Take the weights of this moment. While the run stands still, they are on show anyway.",
        )
    if said := st.session_state.pop("inside_said", ""):
        st.text(said)


@st.fragment
def inside() -> None:
    """The page."""
    run = run_manager().current
    shown = shown_of(run, moment=True)
    st.html(STYLE)
    live = st.container()
    has_pairs = run is not None and "pairs" in registry.find(run.config.model).features
    view = st.segmented_control(
        "what to look at",
        list(VIEWS),
        default="Shapes",
        required=True,
        key="look",
        bind="query-params",
        label_visibility="collapsed",
    )
    with live:
        page = "inside-table" if view == "Table" and has_pairs else "inside"
        board(page, shown=shown, past=scrubbed_moment.step_shown())
        scrubbed_moment.line("Inside")
    if scrubbed_moment.opening():
        return
    try:
        with st.spinner("reading the weights"):
            seen = look(run)
    except InputError as error:
        st.text(str(error))
        return
    standing(run, seen)
    lack, other = missing(view, seen)
    if lack:
        st.text(lack)
        open_on_train.button(other)
    else:
        VIEWS[view](seen)
    try_this("Inside")


inside()
