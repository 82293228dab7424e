"""The bigram's table beside the counts that it learns to reproduce: one row in detail, then both tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import streamlit as st
import torch.nn.functional as F
from numpy.typing import NDArray
from plotly.subplots import make_subplots
from torch import Tensor

from engine.text.bigram_counts import MOST_TOKENS, BigramCounts
from pages.charts import static
from pages.charts.palette import BASELINE, GOOD, TRAIN
from pages.charts.token_axes import name_axis, places
from pages.views.inside.inspected_model import InspectedModel, cached

MOST_SHOWN = 73
VALUES = NDArray[np.float64]


class Tables(NamedTuple):
    """For C tokens, by id: logits (C, C), their softmax, the text's shares (C, C), and each row's KL divergence."""

    logits: VALUES
    chances: VALUES
    shares: VALUES
    rows: VALUES
    counts: NDArray[np.int64]
    divergence: float
    floor: float


def tables(table: Tensor, frequencies: BigramCounts | None) -> Tables | None:
    """A bigram's table (C, C) compared with the frequencies of its text; None if the pairs are not counted."""
    if frequencies is None:
        return None
    table = table.detach()
    return Tables(
        logits=table.double().numpy(),
        chances=F.softmax(table.double(), dim=1).numpy(),
        shares=frequencies.conditional_probabilities(),
        rows=frequencies.divergences(table),
        counts=frequencies.following,
        divergence=frequencies.divergence(table),
        floor=frequencies.floor,
    )


def show(look: InspectedModel) -> None:
    """How much is left to learn, one token's row, and both tables."""
    found = look.text()
    if found is None or "pairs" not in look.model.features:
        return
    labels = found[1].tokenizer.labels
    weight, corpus = found[0].token_embedding.weight, found[1]
    seen = cached("tables", look.key, lambda: tables(weight, BigramCounts.of(corpus)))
    if seen is None:
        st.text(f"The text has {len(labels):,} different tokens; pairs are counted for at most {MOST_TOKENS:,}.")
        return
    columns = st.columns([1.2, 1, 1, 1, 1])
    with columns[0]:
        chosen = character_picker(seen, labels)
    metrics(seen, chosen, columns[1:])
    shown = most_frequent(seen.counts, MOST_SHOWN)
    if len(shown) < len(labels):
        st.caption(f"The charts show the {len(shown)} most frequent of {len(labels):,} tokens; the numbers count all.")
    static.show(
        row_figure(seen, chosen, shown, labels),
        "inside_row",
        "One row: from logits to probabilities, and what the text says",
        "The chosen character's row of the table as colours and as bars, then its softmax, then how often each token "
        "really comes next in the training text. Healthy: the two lower charts become alike; the logits keep a free "
        "constant, since softmax looks at differences alone.",
        height=620,
    )
    pair = np.ix_(shown, shown)
    left, right = st.columns(2)
    with left:
        static.show(
            table_figure(seen.chances[pair], shown, labels),
            "inside_learned",
            "The learned table, softmax of each row",
            "What the model believes comes next: a row is the current token, a column the next, and a row sums to 1. "
            "Healthy: it takes on the pattern of the counts beside it.",
            height=560,
        )
    with right:
        static.show(
            table_figure(seen.shares[pair], shown, labels),
            "inside_counted",
            "The counted table, shares of each row",
            "How often each token follows each other one in the training text, as a share of its row: nothing is "
            "learnt here, it is counted. The best that any bigram can do is to become this table.",
            height=560,
        )


def table_figure(cells: VALUES, shown: NDArray[np.intp], labels: tuple[str, ...]) -> go.Figure:
    """Probabilities (n, n) of the shown tokens, labelled as far as there is room."""
    names = [static.literal(labels[i]) for i in shown]
    figure = static.heatmap(cells, scale="probability", x_title="next token", y_title="token")
    name_axis(figure, names)
    name_axis(figure, names, "y")
    return figure


def character_picker(seen: Tables, labels: tuple[str, ...]) -> int:
    """Choose the token whose row is shown; at first the most frequent one."""
    chosen = st.selectbox(
        "character",
        range(len(labels)),
        index=int(seen.counts.sum(axis=1).argmax()),
        format_func=lambda i: labels[i],
        key="inside_character",
        help="Whose row of the table is opened below.",
        persist_state="session",
    )
    return int(chosen if chosen is not None and chosen < len(labels) else 0)


def metrics(seen: Tables, chosen: int, columns: Sequence[Any]) -> None:
    """The KL divergence from the counts, for the table and for the chosen row."""
    told = [
        ("KL divergence, nats", _written(seen.divergence), "Of all rows, each as often as its token comes."),
        ("of this row, nats", _written(seen.rows[chosen]), "Of the chosen row alone; nan if nothing follows."),
        ("floor, nats per token", _written(seen.floor), "The entropy of the counts: no bigram's loss goes below."),
        (
            "loss on the training text",
            _written(seen.floor + seen.divergence),
            "Floor plus divergence: exactly the mean loss over all targets of the training text.",
        ),
    ]
    for place, (name, value, help) in zip(columns, told, strict=True):
        place.metric(name, value, help=help)


def _written(value: float) -> str:
    """Nats as people read them; those of a run that diverged would not fit otherwise."""
    return f"{value:.4g}" if abs(value) >= 1e6 else f"{value:.4f}"


def most_frequent(counts: NDArray[np.int64], most: int) -> NDArray[np.intp]:
    """The ids of the `most` most frequent tokens, in the order of the ids."""
    frequent = np.argsort(-(counts.sum(axis=0) + counts.sum(axis=1)), kind="stable")[:most]
    return np.sort(frequent)


def row_figure(seen: Tables, chosen: int, shown: NDArray[np.intp], labels: tuple[str, ...]) -> go.Figure:
    """Four charts over the same tokens: the row as colours, logits, probabilities, the text's shares."""
    figure = make_subplots(
        rows=4, cols=1, shared_xaxes=True, vertical_spacing=0.035, row_heights=[0.06, 0.32, 0.31, 0.31]
    )
    names = [static.literal(labels[i]) for i in shown]
    logits, chances, shares = (values[chosen, shown] for values in (seen.logits, seen.chances, seen.shares))
    strip = static.heatmap(logits[None, :], scale="signed", y=[""]).data[0]
    strip.update(
        x=places(names), showscale=False, customdata=[names], hovertemplate="%{customdata}: %{z:.3f}<extra></extra>"
    )
    figure.add_trace(strip, row=1, col=1)
    counted = [f"{n:,} times" for n in seen.counts[chosen, shown]]
    for row, (values, colour, extra) in enumerate(
        [(logits, BASELINE, [""] * len(shown)), (chances, TRAIN, [""] * len(shown)), (shares, GOOD, counted)], 2
    ):
        figure.add_bar(
            x=places(names),
            y=values,
            marker={"color": colour},
            customdata=list(zip(names, extra, strict=True)),
            hovertemplate="%{customdata[0]}: %{y:.4f} %{customdata[1]}<extra></extra>",
            row=row,
            col=1,
        )
    top = float(max(chances.max(initial=0), shares.max(initial=0))) * 1.05 or 1.0
    figure.update_layout(showlegend=False, bargap=0.15)
    figure.update_yaxes(title_text="row", showticklabels=False, row=1, col=1)
    figure.update_yaxes(title_text="logit", row=2, col=1)
    figure.update_yaxes(title_text="probability", range=[0, top], row=3, col=1)
    figure.update_yaxes(title_text="share in text", range=[0, top], row=4, col=1)
    name_axis(figure, names)
    figure.update_xaxes(title_text="next token", row=4, col=1)
    return figure
