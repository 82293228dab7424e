"""The list of texts, the counts of the chosen one, and a button to train on it."""

from __future__ import annotations

import streamlit as st

from engine.analysis.text_statistics import TextStatistics
from engine.config import DEFAULT_CORPUS, RunConfig, changed
from engine.errors import InputError
from engine.presets import preset
from engine.progress import Report
from engine.runs.datasets import encoded_corpus
from engine.runs.manager import run_manager
from engine.text.library import TextEntry
from pages.views.shared.add_text import add_texts
from pages.widgets import plan, waiting

MOST_PROBLEMS = 2
"""Files that cannot be read, said at once; the others fold away."""


def config_of(name: str) -> RunConfig:
    """The configuration of a run on the text `name`, by characters, with the plan's split."""
    planned = plan.planned().config
    return changed(
        preset("bigram").config,
        corpus=name,
        val_fraction=planned.val_fraction,
        test_fraction=planned.test_fraction,
    )


def count_text(entry: TextEntry) -> TextStatistics | None:
    """The statistics of a text, counted once a session; None, and a sentence, if it cannot be read, or is not yet."""
    config, library = config_of(entry.name), run_manager().library

    def count(report: Report) -> TextStatistics:
        corpus = encoded_corpus(*library.load_name(entry.name, report), config, report=report)
        report("counting characters and pairs", 0, 0)
        return TextStatistics.of(corpus)

    try:
        return waiting.result("census", (entry.name, entry.sha256, config.val_fraction, config.test_fraction), count)
    except InputError as error:
        st.text(str(error))
        return None


def select(name: str) -> None:
    """Show the text `name`."""
    st.session_state.update(text_shown=name, text_asked=name)


def train_on(name: str) -> None:
    """Plan the next run on this text."""
    plan.change_config("corpus", name)
    if not plan.planned().config.reads_text:
        start = preset("bigram")
        plan.change(config=changed(start.config, corpus=name), settings=start.settings)


def corpus_picker(entries: list[TextEntry]) -> TextEntry:
    """The list of texts; returns the chosen one."""
    ready = {entry.name: entry for entry in entries if entry.ready}
    shown = st.session_state.get("text_shown")
    run = run_manager().current
    first = run.config.corpus if run is not None and run.config.corpus in ready else DEFAULT_CORPUS
    names = list(ready)
    chosen: str = st.selectbox(
        "text",
        names,
        names.index(shown if shown in ready else first),
        format_func=lambda name: f"{ready[name].title}, {ready[name].characters:,} characters",
        key=f"text-{st.session_state.get('text_asked')}-{len(names)}",
        help="Everything on this page is about this text.",
    )
    st.session_state.text_shown = chosen
    return ready[chosen]


def corpus_facts(told: TextStatistics, entry: TextEntry) -> None:
    """Where a text comes from and how much of it there is."""
    st.text(
        f"{told.characters:,} characters, {told.distinct:,} different ones, {entry.bytes:,} bytes\n"
        f"source: {told.source}\nlicence: {told.licence}"
    )
    if st.button(
        "Train on this text",
        type="primary",
        icon=":material/arrow_forward:",
        key="train_on",
        width="stretch",
        help="Plans the next run on this text and opens Train. A run under way goes on until you start the new one.",
    ):
        train_on(entry.name)
        st.switch_page("train.py")


def add_text_panel() -> None:
    """Upload, fetch, or drop a text."""
    with st.expander("Add a text", icon=":material/add:"):
        st.markdown("Drop a `.txt` file into this folder and it is in the list two seconds later:")
        st.code(str(run_manager().library.folder.path), language=None, wrap_lines=True)
        add_texts(select)
    broken = [entry for entry in run_manager().library.entries() if entry.problem]
    told = [f"{entry.title}: {entry.problem}" for entry in broken]
    for line in told[:MOST_PROBLEMS]:
        st.text(line)
    if rest := told[MOST_PROBLEMS:]:
        with st.expander(f"{len(rest)} more that cannot be read"):
            st.text("\n".join(rest))
