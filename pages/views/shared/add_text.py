"""Ways to add a text: upload one, or fetch a well-known one; the caller gets its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from engine.errors import InputError
from engine.runs.manager import run_manager
from pages.widgets import notices

Chosen = Callable[[str], None]


def add_texts(chosen: Chosen) -> None:
    """An upload, and a button for each well-known text that is not here; `chosen` gets the name of a new text."""
    uploaded = st.file_uploader("a text of your own (.txt)", type="txt", key="upload")
    if uploaded is not None and st.session_state.get("uploaded") != uploaded.file_id:
        st.session_state.uploaded = uploaded.file_id
        _add_upload(uploaded.name, uploaded.getvalue(), chosen)
    for entry in run_manager().library.entries():
        size = f"{entry.bytes / 1e6:.1f} MB" if entry.bytes >= 1e6 else f"{entry.bytes / 1e3:.0f} kB"
        label = f"Fetch {entry.title} ({size})"
        if entry.kind == "fetchable" and st.button(label, key=f"fetch_{entry.name}", width="stretch"):
            _fetch(entry.name, chosen)
    if notice := run_manager().library.notice:
        st.text(notice)


def _add_upload(name: str, content: bytes, chosen: Chosen) -> None:
    """Keep an uploaded text, and draw the page anew."""
    try:
        entry = run_manager().library.add_upload(name, content)
    except InputError as error:
        notices.add(str(error))
    else:
        chosen(entry.name)
    st.rerun(scope="fragment")


def _fetch(name: str, chosen: Chosen) -> None:
    """Fetch a text, with progress, and draw the page anew."""
    bar = st.progress(0.0, f"fetching {name}")
    try:
        run_manager().library.fetch(name, lambda done, total: set_progress(bar, done, total))
    except InputError as error:
        notices.add(str(error))
    else:
        chosen(name)
    st.rerun(scope="fragment")


def set_progress(bar: Any, done: int, total: int) -> None:
    """Move a progress bar to `done` of `total` bytes; `total` may be 0 if it is unknown."""
    bar.progress(min(1.0, done / max(total, 1)))
