"""Embeddings: the token table live, as colours and as points of a plane; and which tokens are near each other in it.

Similarities are computed on a copy of the weights, taken when the page is opened, whenever the run stands still, and
when somebody presses Refresh. A session keeps that copy; the run is never held up for longer than one step.
"""

from __future__ import annotations

import streamlit as st

from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.training.projection import MOST_ROWS
from pages.board.board import board, shown_of
from pages.charts.static import presenting
from pages.views.embeddings import context_words, word_vectors
from pages.views.embeddings.inspected_table import InspectedTable, inspected_table, run_of_text
from pages.views.embeddings.similarity import nearest_tokens, row_arithmetic
from pages.views.lessons.course import lessons_about
from pages.views.shared import frame, scrubber
from pages.views.train.transport import answers, play_label
from pages.widgets import actions, notices, plan
from pages.widgets.play_button import play_button
from pages.widgets.style import STYLE

OWN_STYLE = """<style>
.st-key-live .ls-board { height: clamp(470px, 100vh - 300px, 900px); }
@media (max-width: 860px) { .st-key-live .ls-board { height: auto; } }
</style>"""


def transport(run: Run | None, own: Run | None) -> None:
    """Start or pause the room's run, or take a new copy of its weights."""
    with st.container(horizontal=True, vertical_alignment="center", key="transport"):
        if not presenting():
            play_button(
                play_label(run),
                actions.play,
                key="play",
                help="Start, pause, resume the current run. Key: space.",
                width="content",
            )
            answers()
        st.button(
            "Refresh",
            key="again",
            icon=":material/visibility:",
            disabled=own is None or scrubber.selected() is not None,
            on_click=lambda: st.session_state.pop("looked", None),
            help="Take the weights of this moment for everything below the two charts.",
        )
        notices.show_once()


def describe(looked: InspectedTable, run: Run | None, own: Run | None) -> None:
    """Say whose weights are used below, and from which step."""
    if run is not None and own is None:
        st.text(
            f"The current run ({run.title}) has no tokens, so it has no token embedding. Looked at below: the first "
            "weights of the default model, before any training."
        )
    elif own is None:
        st.text(
            f"There is no run yet. Looked at below: the first weights of the default model, {looked.title}, drawn at "
            "random. Nothing is learnt in them; press Start, then look again."
        )
    else:
        rows, columns = looked.table.shape
        some = f", the first {MOST_ROWS:,} tokens" if own.dataset.vocab_size > MOST_ROWS else ""
        size = f"a table of {rows:,} × {columns:,}{some}"
        st.text(f"Looked at below: {looked.title}, weights of step {looked.step:,}, {size}.")


@st.fragment
def page() -> None:
    """The page."""
    run = run_manager().current
    own = run_of_text(run)
    st.html(STYLE + OWN_STYLE)
    frame.room_bar(run)
    with st.container(key="live"):
        scrubber.status_line("Embeddings")
        board(
            "embeddings",
            shown=shown_of(run, moment=True),
            past=scrubber.displayed_step(),
            verbs=scrubber.allowed("open"),
            on_moment=scrubber.handle_request,
        )
    plan.planned()
    transport(run, own)
    looked = None if scrubber.is_restoring() else inspected_table(own)
    if looked is not None:
        describe(looked, run, own)
        nearest_tokens(looked)
    st.divider()
    word_vectors.king_and_queen()
    st.divider()
    context_words.learned_from_context()
    if looked is not None:
        st.divider()
        row_arithmetic(looked)
    lessons_about("embeddings")


page()
