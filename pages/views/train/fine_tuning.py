"""Fine-tuning: a new run that trains the room's model on another text."""

from __future__ import annotations

import streamlit as st

from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.text.corpus import Corpus
from pages.widgets import actions, plan, waiting
from pages.widgets.glossary import glossary_link


def fine_tuning(run: Run) -> None:
    """Offer another text for this run's model; nothing for a run on points."""
    if not isinstance(run.dataset, Corpus):
        return
    now = run.dataset.name
    texts = {entry.name: entry.title for entry in run_manager().library.entries() if entry.ready and entry.name != now}
    st.caption(
        "Or fine-tune: a new run starts from the weights that this one has now and learns from another text, which "
        "must be written in the same characters. This run is paused; undo brings it back. The new "
        "one has the same knobs, a fresh optimizer and its own step 0, and its chart keeps an eye on the text before."
    )
    text, button = st.columns([2, 3], vertical_alignment="bottom")
    text.selectbox(
        "on the text",
        list(texts),
        key="tune_text",
        format_func=lambda name: texts.get(name, name),
        help=f"A character that the model has never seen has no row in its tables. {glossary_link('fine-tuning')}",
    )
    button.button("Fine-tune on it", key="tune", on_click=start_fine_tuning, width="stretch", disabled=not texts)


def start_fine_tuning() -> None:
    """Start the new run on the chosen text; this one is paused, and the panel closes."""
    actions.close_panels()
    text = st.session_state.tune_text
    waiting.begin(
        lambda report: run_manager().fine_tune(text, replace=True, report=report),
        lambda job: actions.finish(job, plan.follow),
    )
