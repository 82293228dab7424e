"""Which tokens have similar rows: nearest and farthest, all cosines, and arithmetic with rows."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from engine.training.projection import Neighbour, analogy, centred, cosines, neighbours
from pages.charts import static
from pages.charts.embeddings import KINDS, kind_of
from pages.charts.token_axes import name_axis
from pages.views.embeddings.inspected_table import InspectedTable

NEAREST, FARTHEST = 8, 3
MOST_CELLS = 80  # tokens on each side of the table of similarities
COMPARED = ("average row subtracted", "rows as they are")


def nearest_tokens(looked: InspectedTable) -> None:
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
            index=first_known(looked, "e", "a"),
            format_func=lambda row: labels[row],
            key=f"token-{len(labels)}",
        )
        ranked = neighbours(rows, rows[token], leave_out=[token])
        static.show(
            similarity_bars(ranked[:NEAREST] + ranked[NEAREST:][-FARTHEST:], looked),
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


def similarity_bars(ranked: list[Neighbour], looked: InspectedTable) -> go.Figure:
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


def row_arithmetic(looked: InspectedTable) -> None:
    """One row minus another plus a third, with the tokens of this model."""
    static.heading(
        "The same arithmetic with this model's rows",
        "Which row lies nearest to the first row, less the second, plus the third; rows that went into the sum are "
        "marked, since one of them is often nearest. Healthy: nothing of meaning before training, and little after it "
        "for a table of characters; the arithmetic works for words learnt from much text.",
    )
    labels = looked.labels
    starts = [first_known(looked, *wanted) for wanted in (("A", "a"), ("a", "e"), ("b", "i"))]
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


def first_known(looked: InspectedTable, *wanted: str) -> int:
    """The row of the first of `wanted` that the vocabulary has, else 0."""
    return next((looked.tokens.index(token) for token in wanted if token in looked.tokens), 0)
