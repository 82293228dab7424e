"""Notices of this session: what went wrong, in one sentence each."""

from __future__ import annotations

import streamlit as st

from pages.widgets import waiting
from pages.widgets.over import over


def add(sentence: str) -> None:
    """Show a notice on the page."""
    st.session_state.notices = [*st.session_state.get("notices", []), sentence]


def show() -> None:
    """How far a long action is, and all notices in a box, until somebody closes it."""
    waiting.action()
    if sentences := st.session_state.get("notices") or []:
        with over("notices"), st.container(key="notices"):
            for sentence in sentences:
                st.text(sentence)
            st.button("Close", key="close_notices", on_click=lambda: st.session_state.update(notices=[]))


def show_once() -> None:
    """How far a long action is, and all notices in a box, until the page is drawn anew."""
    waiting.action()
    if sentences := st.session_state.pop("notices", None) or []:
        with over("notices"):
            for sentence in sentences:
                st.text(sentence)
