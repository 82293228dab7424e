"""Glossary: the way from a text to a model through the app, what the documents got wrong, and every word."""

from __future__ import annotations

import streamlit as st

from pages.views.glossary.corrections import corrections
from pages.views.glossary.roadmap import roadmap
from pages.views.glossary.terms import terms
from pages.views.shared import frame
from pages.widgets.style import STYLE

OWN_STYLE = """<style>
.ls-terms { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); gap: 14px 32px; }
.ls-terms dt { font-weight: 600; } .ls-terms dd { margin: 0; }
.ls-terms div:target { outline: 2px solid currentColor; outline-offset: 6px; border-radius: 4px; }
.ls-terms div { scroll-margin-top: 5rem; }
</style>"""


@st.fragment
def page() -> None:
    """The page."""
    st.html(STYLE + OWN_STYLE)
    frame.room_frame()
    asked = st.session_state.setdefault("glossary_asked", "search" in st.query_params)  # it was opened for a word
    for place, part in enumerate((terms, roadmap, corrections) if asked else (roadmap, corrections, terms)):
        if place:
            st.divider()
        part()


page()
