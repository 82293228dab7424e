"""Ways to add a text: upload one, or fetch a well-known one; the caller gets its name."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from engine.errors import InputError
from engine.paths import home
from engine.progress import Job, Report
from engine.runs.manager import run_manager
from engine.text import gpt2
from engine.text.download import Progress
from pages.widgets import notices, waiting

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
    """Fetch a text, and draw the page anew."""
    library = run_manager().library
    fetch(name, lambda progress: library.fetch(name, progress), lambda: chosen(name))
    st.rerun()


def fetch_gpt2(fetched: Callable[[], object] = lambda: None) -> None:
    """Fetch GPT-2's two files; then `fetched` is called."""
    fetch(gpt2.TITLE, lambda progress: gpt2.fetch(home(), progress), fetched)


def fetch(title: str, get: Callable[[Progress], object], fetched: Callable[[], object]) -> None:
    """Fetch something, with a bar and Cancel; then call `fetched`, or say in a notice what went wrong."""

    def work(report: Report) -> None:
        get(lambda done, total: report(f"fetching {title}", done, total))

    def then(job: Job[None]) -> None:
        try:
            job.result()
        except InputError as error:
            notices.add(str(error))
        else:
            fetched()

    waiting.begin(work, then)
