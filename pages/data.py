"""Data: which texts there are, what is in them, how they are split and cut into tokens, and how to add one.

A session keeps what it has counted of the text it looks at; the run's own text is not touched.
"""

from __future__ import annotations

import numpy as np
import streamlit as st

from engine.analysis.text_statistics import TextStatistics, unseen_token_loss
from engine.config import DEFAULT_CORPUS, RunConfig, changed
from engine.errors import InputError
from engine.lessons.results import percent
from engine.models.registry import build_language_model
from engine.presets import preset
from engine.runs.datasets import encoded_corpus
from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.text.corpus import Corpus
from engine.text.library import Entry
from pages.board.board import board, shown_of
from pages.charts import static
from pages.charts.palette import BASELINE, TRAIN, VALIDATION
from pages.views.data import tokenization
from pages.views.data.add_text import add_texts
from pages.views.shared.try_this import try_this
from pages.widgets import actions
from pages.widgets.style import STYLE

SPLIT_COLOURS = {"training": TRAIN, "validation": VALIDATION, "test": BASELINE}
MOST_BARS = 20
OWN_STYLE = "<style>.st-key-header .ls-board.ls-example { display: none; }</style>"  # no run, no header line


# -------------------------------------------------------------------- what is looked at


def config_of(name: str) -> RunConfig:
    """A run on the text `name`, read by characters, split as the plan says."""
    planned = actions.plan().config
    return changed(
        preset("bigram").config,
        corpus=name,
        val_fraction=planned.val_fraction,
        test_fraction=planned.test_fraction,
    )


def census(entry: Entry) -> TextStatistics | None:
    """What was counted of a text, once; says what is wrong with one that cannot be read."""
    config = config_of(entry.name)
    key = entry.name, entry.sha256, config.val_fraction, config.test_fraction
    kept: tuple[object, TextStatistics] | None = st.session_state.get("census")
    if kept is None or kept[0] != key:
        try:
            with st.spinner("counting"):
                counted = TextStatistics.of(encoded_corpus(*run_manager().library.load_name(entry.name), config))
        except InputError as error:
            st.text(str(error))
            return None
        kept = st.session_state.census = key, counted
    return kept[1]


def choose(name: str) -> None:
    """Look at the text `name`."""
    st.session_state.update(text_shown=name, text_asked=name)


def train_on(name: str) -> None:
    """The next run's text is this one."""
    actions.restructure("corpus", name)
    if not actions.plan().config.reads_text:
        start = preset("bigram")
        actions.replan(config=changed(start.config, corpus=name), settings=start.settings)


# -------------------------------------------------------------------- the page's parts


def texts(entries: list[Entry]) -> Entry:
    """The list of texts, and the one that is looked at."""
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


def facts(told: TextStatistics, entry: Entry) -> None:
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


def adding() -> None:
    """Upload, fetch, or drop a text."""
    with st.expander("Add a text", icon=":material/add:"):
        st.markdown("Drop a `.txt` file into this folder and it is in the list two seconds later:")
        st.code(str(run_manager().library.folder.path), language=None, wrap_lines=True)
        add_texts(choose)
    broken = [entry for entry in run_manager().library.entries() if entry.problem]
    for entry in broken:
        st.text(f"{entry.title}: {entry.problem}")


def splits(told: TextStatistics) -> None:
    """The three parts, drawn to scale."""
    figure = static.plane("characters, from the first to the last", "")
    for name, size in told.splits.items():
        figure.add_bar(
            x=[size],
            y=[0],
            orientation="h",
            name=f"{name} {size:,}",
            marker={"color": SPLIT_COLOURS[name]},
            hovertemplate=f"{name}: %{{x:,}} characters<extra></extra>",
        )
    figure.update_layout(
        barmode="stack",
        bargap=0,
        legend={"traceorder": "normal"},
        xaxis={"tickformat": ",", "range": [0, told.characters]},
        yaxis={"visible": False},
    )
    static.show(
        figure,
        "splits",
        "How the text is split",
        "The model learns from the training part alone; validation is looked at while it trains, test once at the end. "
        "Healthy: the parts are of one kind of text, since they are cut in its order and not mixed.",
        height=150,
    )


def frequent(told: TextStatistics) -> None:
    """The most frequent characters and pairs of the training part."""
    labels = told.tokenizer.labels
    left, right = st.columns(2, gap="medium")
    for place, often, key, title, whole in (
        (left, told.singles, "singles", "Most frequent characters", told.splits["training"]),
        (right, told.pairs, "pairs", "Most frequent pairs", max(1, told.splits["training"] - 1)),
    ):
        names = ["".join(labels[token] for token in one.tokens) for one in often[:MOST_BARS]]
        figure = static.plane("", "share of the training text")
        figure.add_bar(
            x=list(range(len(names))),
            y=[one.times / whole for one in often[:MOST_BARS]],
            marker={"color": TRAIN},
            customdata=[f"{static.literal(name)}: {one.times:,}" for name, one in zip(names, often, strict=False)],
            hovertemplate="%{customdata}<extra></extra>",
        )
        ticks = {"tickvals": list(range(len(names))), "ticktext": [static.literal(name) for name in names]}
        figure.update_layout(xaxis=ticks, yaxis={"tickformat": ".1%"})
        with place:
            static.show(
                figure,
                key,
                title,
                "How often each comes, the most frequent first; blanks are shown as signs. Usual for a text in a "
                "language: a few come very often and most come seldom, and it is this that a model learns first.",
                height=260,
            )


def ladder(told: TextStatistics) -> None:
    """What a loss means on this text."""
    base = told.baselines
    figure = static.plane("loss, nats per character", "")
    rungs = {
        f"guessing among {told.distinct:,}": base.uniform,
        "knowing how often each comes": base.unigram,
        "knowing what follows what": base.bigram,
    }
    figure.add_bar(
        x=list(rungs.values()),
        y=list(range(len(rungs))),
        orientation="h",
        marker={"color": [BASELINE, VALIDATION, TRAIN]},
        width=0.4,
        hoverinfo="skip",
    )
    for place, (rung, nats) in enumerate(rungs.items()):  # above its bar: beside it, a phone has no room
        figure.add_annotation(
            x=0,
            y=place - 0.2,
            text=f"{rung}<br>{nats:.4f} nats, {nats / np.log(2):.4f} bits: as if among {np.exp(nats):.1f}",
            align="left",
            xanchor="left",
            yanchor="bottom",
            showarrow=False,
        )
    bare = {"showticklabels": False, "showgrid": False, "zeroline": False}
    figure.update_layout(yaxis={"range": [len(rungs) - 0.7, -0.75], **bare})
    static.show(
        figure,
        "ladder",
        "The entropy ladder",
        "Three losses by counting the training text, without any training; a model's loss can be held against them. "
        "A bigram that has learnt all it can stands on the lowest rung; a model that looks further back goes below.",
        height=300,
    )


def seen_in_validation_only(told: TextStatistics, entry: Entry) -> None:
    """Characters that training never shows, and what they cost."""
    static.heading(
        "In validation only",
        "The vocabulary is made from the whole text, so such a character has a token and a row, yet no batch ever "
        "trains them. Healthy is none, or a handful; many say that the text changes on the way from part to part.",
    )
    share = told.new_pairs / max(1, told.val_pairs)
    unknown = (
        f"{told.new_pairs:,} of the {told.val_pairs:,} pairs in the validation part ({percent(share, 2)}) never occur "
        "in the training part. Counting would give them probability 0 and an infinite loss; softmax never quite gives "
        "0."
    )
    if not told.unseen:
        st.text("Every character of the validation part occurs in the training part too.\n\n" + unknown)
        return
    names = ", ".join(f"{told.tokenizer.labels[one.tokens[0]]} ({one.times:,} ×)" for one in told.unseen)
    st.text(f"Only in the validation part: {names}.\n\n{unknown}")
    run = run_manager().current
    if run is None or not trained_on(run, entry, told):
        st.text("Train a bigram or a GPT on this text, by characters, and what it pays for them is computed here.")
        return
    cost(run, told)


def trained_on(run: Run, entry: Entry, told: TextStatistics) -> bool:
    """Does the run learn from this text, by the same characters and split in the same places?"""
    data = run.dataset
    same = isinstance(data, Corpus) and run.config.corpus == entry.name and data.tokenizer.vocab == told.tokenizer.vocab
    return (
        same and isinstance(data, Corpus) and list(map(len, (data.train, data.val))) == list(told.splits.values())[:2]
    )


def cost(run: Run, told: TextStatistics) -> None:
    """What the model of this moment pays for characters that it never saw."""
    try:
        step, weights = run.copy_weights()
    except InputError as error:
        st.text(str(error))
        return
    model = build_language_model(run.config, run.corpus.vocab_size).load_weights(weights)
    unseen = [one.tokens[0] for one in told.unseen]
    paid = unseen_token_loss(model, run.corpus.val, unseen, run.config.block_size)
    rows = [
        {"target": name, "loss, nats": "none" if loss is None else f"{loss:.3f}"}
        for name, loss in (
            ("the unseen character itself", paid.itself),
            ("what comes right after it", paid.after),
            ("the others in the same windows", paid.others),
        )
    ]
    st.dataframe(rows, hide_index=True, width="stretch")
    st.caption(
        f"Mean losses on validation windows that hold one ({paid.windows:,}), with the weights of step {step:,}. As an "
        "answer it was only ever pushed down; as a question its row is nearly as it was drawn."
    )
    st.button("Look again", key="again", icon=":material/visibility:", help="With the weights of this moment.")


@st.fragment
def page() -> None:
    """The page."""
    st.html(STYLE + OWN_STYLE)
    actions.plan()
    with st.container(key="header"):
        board("data", shown=shown_of(run_manager().current))
    for sentence in st.session_state.pop("notices", None) or []:
        st.text(sentence)
    left, right = st.columns([2, 5], gap="medium")
    with left:
        entry = texts(run_manager().library.entries())
        told = census(entry)
        if told is not None:
            facts(told, entry)
        adding()
    if told is None:
        return
    with right:
        splits(told)
        ladder(told)
    frequent(told)
    one, two = st.columns([3, 2], gap="medium")
    with one:
        tokenization.pasted(told, entry, config_of(entry.name))
    with two:
        seen_in_validation_only(told, entry)
    try_this("Data")


page()
