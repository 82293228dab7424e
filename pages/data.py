"""Data: which texts there are, what is in them, how they are split and cut into tokens, and how to add one.

A session keeps the counts of the text on show; the run's own text is not touched.
"""

from __future__ import annotations

import streamlit as st

from engine.runs.manager import run_manager
from pages.board.board import board, shown_of
from pages.views.data import tokenization
from pages.views.data.corpus_picker import add_text_panel, config_of, corpus_facts, corpus_picker, count_text
from pages.views.data.statistics import entropy_ladder, frequencies, splits
from pages.views.data.unseen import unseen_tokens
from pages.views.lessons.course import lessons_about
from pages.views.shared import frame
from pages.widgets import notices, plan
from pages.widgets.style import STYLE


@st.fragment
def page() -> None:
    """The page."""
    st.html(STYLE)
    plan.planned()
    frame.room_bar(run_manager().current)
    with st.container(key="header"):
        board("data", shown=shown_of(run_manager().current))
    notices.show_once()
    left, right = frame.columns(2, 5)
    with left:
        entry = corpus_picker(run_manager().library.entries())
        told = count_text(entry)
        if told is not None:
            corpus_facts(told, entry)
        add_text_panel()
    if told is None:
        return
    with right:
        splits(told)
        entropy_ladder(told)
    frequencies(told)
    one, two = st.columns([3, 2], gap="medium")
    with one:
        tokenization.token_view(told, entry, config_of(entry.name))
    with two:
        unseen_tokens(told, entry)
    lessons_about("data")


page()
