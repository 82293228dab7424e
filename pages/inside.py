"""Inside: the model as it is now, taken apart. Holds no training state.

The weights are a copy of the room's run at one step. While the run trains, the copy stays until somebody looks again;
while it stands still, the copy follows it. Only the view on show computes anything.
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
from pages.views.inside.inspected_model import InspectedModel, default_preset, inspect_model, refresh
from pages.views.lessons.course import lessons_about
from pages.views.shared import frame, scrubber
from pages.widgets.open_on_train import open_on_train_button
from pages.widgets.style import STYLE
from pages.widgets.tabs import tabs

VIEWS: dict[str, Callable[[InspectedModel], None]] = {
    "Shapes": shapes.show,
    "Table": table.show,
    "Attention": attention.show,
    "Generation": generation.show,
    "Parameters": parameters.show,
    "Questions": questions.show,
}
OF_TEXT = ("Shapes", "Generation", "Questions")


def start_default_run() -> None:
    """Start the default experiment, for the whole room."""
    begin = default_preset()
    try:
        run_manager().start(begin.config, begin.settings)
    except RunActive:
        pass  # somebody else was quicker: that run is on show next
    except InputError as error:
        st.session_state["inside_said"] = str(error)


def unmet_requirement(view: str, seen: InspectedModel) -> tuple[str, str]:
    """Why this model cannot fill the view, in one sentence, and a preset that can; both empty if it can."""
    trains = f"the model here is a {seen.config.model}"
    if view == "Table" and "pairs" not in seen.model.features:
        return f"The table of pairs is what a bigram consists of; {trains}.", "bigram"
    if view == "Attention" and "attention" not in seen.model.features:
        return f"Attention is what a GPT does; {trains}, which looks at no other token.", "gpt-tiny"
    if view in OF_TEXT and seen.text() is None:
        return f"This view needs a model of text; {trains}. Its parameters are under Parameters.", "bigram"
    return "", ""


def weights_note(run: Run | None, seen: InspectedModel) -> None:
    """Say which weights are on show, and offer newer ones."""
    if scrubber.restored() is not None:
        return  # its line says it
    with st.container(horizontal=True, vertical_alignment="center", key="inside_standing"):
        if run is None:
            st.text("No run yet: these are the weights of an untrained bigram on the default text.")
            st.button(
                "Start a run",
                type="primary",
                on_click=start_default_run,
                help="Train this bigram, for everyone to see.",
            )
            return
        st.text(f"The weights after step {seen.step:,}.")
        st.button(
            "Refresh",
            on_click=refresh,
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
    frame.room_bar(run)
    has_pairs = run is not None and "pairs" in registry.find(run.config.model).features
    view = tabs("what to look at", list(VIEWS), "look", bind="query-params")  # first: what it brings moves it nowhere
    board(
        "inside-table" if view == "Table" and has_pairs else "inside",
        shown=shown,
        past=scrubber.displayed_step(),
        verbs=scrubber.allowed("open"),
        on_moment=scrubber.handle_request,
    )
    scrubber.status_line("Inside")
    if scrubber.is_restoring():
        return
    try:
        with st.spinner("reading the weights"):
            seen = inspect_model(run)
    except InputError as error:
        st.text(str(error))
        return
    weights_note(run, seen)
    lack, other = unmet_requirement(view, seen)
    if lack:
        st.text(lack)
        open_on_train_button(other)
    else:
        VIEWS[view](seen)
    lessons_about("inside")


inside()
