"""Embeddings: the token table live, as colours and as points of a plane; and who is near whom in it, as of now.

What is looked up is a copy of the weights of one moment, taken when the page is opened, when the run rests, and when
somebody asks to look again. A session keeps that copy; the run is never held up for longer than one step.
"""

from __future__ import annotations

from typing import NamedTuple

import plotly.graph_objects as go
import streamlit as st
from torch import Tensor

from engine.errors import InputError
from engine.generators import generator
from engine.link import DEFAULT_PRESET
from engine.models import registry
from engine.models.registry import build_language_model
from engine.presets import preset
from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.stream.status import ENDED, State
from engine.training.projection import MOST_ROWS, Neighbour, analogy, centred, cosines, neighbours
from pages.board.board import board, shown_of
from pages.charts import static
from pages.charts.embeddings import KINDS, kind_of
from pages.charts.token_axes import name_axis
from pages.views.embeddings import word_vectors
from pages.views.shared import scrubbed_moment
from pages.views.shared.try_this import try_this
from pages.widgets import actions
from pages.widgets.style import STYLE

NEAREST, FARTHEST = 8, 3
PAST = -1
MOST_CELLS = 80  # tokens on each side of the table of similarities
COMPARED = ("less the average row", "rows as they are")
OWN_STYLE = """<style>
.st-key-live .ls-board { height: clamp(470px, 100vh - 300px, 900px); }
@media (max-width: 860px) { .st-key-live .ls-board { height: auto; } }
</style>"""


class Looked(NamedTuple):
    """The token embedding (V, D) as it was at one moment, and the visible names of its rows."""

    key: tuple[str, int, int]
    """Run, step, stages done of the next one; PAST of them for an earlier moment that was opened."""
    step: int
    title: str
    table: Tensor
    labels: tuple[str, ...]
    tokens: tuple[str, ...]


def look(run: Run) -> Looked:
    """The table of a run at the moment that is opened, else as it is now; InputError where the run cannot answer."""
    tokenizer, made = run.corpus.tokenizer, scrubbed_moment.ready()
    if made is not None and made.paused_state is not None:
        step, weights, stage = made.step, made.paused_state.snapshot.weights, PAST
    else:
        stage = run.stage  # first: what comes in between is looked at again
        step, weights = run.copy_weights()
    table = weights["token_embedding.weight"][:MOST_ROWS].clone()
    labels, tokens = tokenizer.labels[:MOST_ROWS], tokenizer.vocab[:MOST_ROWS]
    return Looked((run.id, step, stage), step, run.title, table, labels, tokens)


def untrained() -> Looked:
    """The table that a run with the default preset begins with."""
    config = preset(DEFAULT_PRESET).config
    corpus = run_manager().corpus(config)
    model = build_language_model(config, corpus.vocab_size, generator(config.seed, "weights"))
    tokenizer = corpus.tokenizer
    table = model.token_embedding.weight.detach()
    return Looked(("", 0, 0), 0, f"bigram on {corpus.title}", table, tokenizer.labels, tokenizer.vocab)


def looked_up(run: Run | None) -> Looked | None:
    """What this session looks at: of a run that rests always the newest, of one that runs what it saw last."""
    kept: Looked | None = st.session_state.get("looked")
    key = ("", 0, 0) if run is None else (run.id, run.step, run.stage)
    stays = run is not None and run.state is State.RUNNING
    if run is not None and (past := scrubbed_moment.step_shown()) is not None:
        key, stays = (run.id, past, PAST), False
    if kept is None or (kept.key[0] != key[0] or kept.key[2] == PAST if stays else kept.key != key):
        try:
            kept = st.session_state.looked = untrained() if run is None else look(run)
        except InputError as error:
            st.text(str(error))
            return None
    return kept


def reads_tokens(run: Run | None) -> Run | None:
    """The run, if its model has a token embedding."""
    return run if run is not None and "embedding" in registry.find(run.config.model).features else None


# -------------------------------------------------------------------- the page


def transport(run: Run | None, own: Run | None) -> None:
    """Start or pause, look again, and which moment is on show."""
    running = run is not None and run.state is State.RUNNING
    ended = run is None or run.state in ENDED
    label = "Pause" if running else "Start" if ended or (run and run.state is State.READY) else "Resume"
    with st.container(horizontal=True, vertical_alignment="center", key="transport"):
        st.button(
            label,
            key="play",
            type="secondary" if running else "primary",
            icon=":material/pause:" if running else ":material/play_arrow:",
            shortcut="Space",
            on_click=actions.play,
            args=(label,),
            help="Start, pause, resume the room's run. Key: space.",
        )
        st.button(
            "Look again",
            key="again",
            icon=":material/visibility:",
            disabled=own is None or scrubbed_moment.past() is not None,
            on_click=lambda: st.session_state.pop("looked", None),
            help="Take the weights of this moment for everything below the two charts.",
        )
        for sentence in st.session_state.pop("notices", []):
            st.text(sentence)


def moment(looked: Looked, run: Run | None, own: Run | None) -> None:
    """Whose weights are looked at below, and of which step."""
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


def near(looked: Looked) -> None:
    """The tokens most and least like a chosen one, and all similarities at once."""
    labels = looked.labels
    left, right = st.columns([2, 3], gap="medium")
    with left:
        compared = st.segmented_control(
            "compare",
            COMPARED,
            default=COMPARED[0],
            required=True,
            key="compared",
            help="All rows of a bigram share how rare most tokens are, which makes any two of them alike. Less the "
            "average row, what is left is how a token differs from the others; the plane above shows that too.",
        )
        rows = centred(looked.table) if compared == COMPARED[0] else looked.table
        token = st.selectbox(
            "token",
            range(len(labels)),
            index=first_of(looked, "e", "a"),
            format_func=lambda row: labels[row],
            key=f"token-{len(labels)}",
        )
        ranked = neighbours(rows, rows[token], leave_out=[token])
        static.show(
            bars(ranked[:NEAREST] + ranked[NEAREST:][-FARTHEST:], looked),
            "nearest",
            "Nearest and farthest",
            "The cosine of the angle between two rows: 1 is the same direction, 0 is unrelated, −1 is opposite. "
            "Healthy: near 0 for all while the weights are random, and far from it between tokens that are used alike.",
            height=400,
        )
    with right:
        shown = list(range(len(labels)))
        if len(labels) > MOST_CELLS:
            shown = sorted([token, *(one.row for one in ranked[: MOST_CELLS - 1])])
        names = [static.literal(labels[row]) for row in shown]
        similar = cosines(rows[shown])
        figure = static.heatmap(similar, scale="signed", x_title="token", y_title="token", limit=1.0)
        name_axis(figure, names)
        name_axis(figure, names, "y")
        static.show(
            figure,
            "cosines",
            "Cosine similarity of every pair",
            "A cell compares two tokens' rows, so the diagonal is 1 and the picture is its own mirror image. Healthy: "
            "a diagonal in noise at first, then blocks of tokens that stand in for each other."
            + (" Shown: the chosen token and those most like it." if len(labels) > MOST_CELLS else ""),
            height=560,
        )


def bars(ranked: list[Neighbour], looked: Looked) -> go.Figure:
    """Cosine similarities as bars, in the colours of the kinds of tokens."""
    figure = static.plane("cosine similarity", "")
    figure.add_bar(
        x=[one.cosine for one in ranked],
        y=list(range(len(ranked))),
        orientation="h",
        marker={"color": [KINDS[kind_of(looked.tokens[one.row])] for one in ranked]},
        text=[f"{one.cosine:+.3f}".replace("-", "−") for one in ranked],
        textposition="outside",
        cliponaxis=False,
        hovertext=[f"distance {one.distance:.4g}" for one in ranked],
        hoverinfo="text",
    )
    figure.update_layout(
        xaxis={"range": [-1.3, 1.3]},  # with room for the numbers beside the bars
        yaxis={
            "autorange": "reversed",
            "tickvals": list(range(len(ranked))),
            "ticktext": [static.literal(looked.labels[one.row]) for one in ranked],
        },
        bargap=0.25,
    )
    return figure


def sums(looked: Looked) -> None:
    """One row minus another plus a third, with the tokens of this model."""
    static.heading(
        "The same arithmetic with this model's rows",
        "Which row lies nearest to the first row, less the second, plus the third; rows that went into the sum are "
        "marked, since one of them is often nearest. Healthy: nothing of meaning before training, and little after it "
        "for a table of characters; the arithmetic works for words learnt from much text.",
    )
    labels = looked.labels
    starts = [first_of(looked, *wanted) for wanted in (("A", "a"), ("a", "e"), ("b", "i"))]
    places = st.columns(3)
    chosen = [
        place.selectbox(
            word, range(len(labels)), index=at, format_func=lambda row: labels[row], key=f"{word}-{len(labels)}"
        )
        for place, word, at in zip(places, ("row of", "minus row of", "plus row of"), starts, strict=True)
    ]
    ranked = neighbours(looked.table, analogy(looked.table, *chosen))[:6]
    rows = [
        {
            "nearest token": labels[one.row] + (" (in the sum)" if one.row in chosen else ""),
            "cosine": round(one.cosine, 3),
            "distance": round(one.distance, 3),
        }
        for one in ranked
    ]
    st.dataframe(rows, hide_index=True, width="stretch")


def first_of(looked: Looked, *wanted: str) -> int:
    """The row of the first of `wanted` that is in the vocabulary, else the first row."""
    return next((looked.tokens.index(token) for token in wanted if token in looked.tokens), 0)


@st.fragment
def page() -> None:
    """The page."""
    run = run_manager().current
    own = reads_tokens(run)
    st.html(STYLE + OWN_STYLE)
    with st.container(key="live"):
        scrubbed_moment.line("Embeddings")
        board(
            "embeddings",
            shown=shown_of(run, moment=True),
            past=scrubbed_moment.step_shown(),
            verbs=scrubbed_moment.can("open"),
            on_moment=scrubbed_moment.take,
        )
    actions.plan()
    transport(run, own)
    looked = None if scrubbed_moment.opening() else looked_up(own)
    if looked is not None:
        moment(looked, run, own)
        near(looked)
    st.divider()
    word_vectors.king_and_queen()
    if looked is not None:
        st.divider()
        sums(looked)
    try_this("Embeddings")


page()
