"""Document 003's four words as points, and the sum King − Man + Woman."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st
import torch
from torch import Tensor

from engine.training.projection import Neighbour, analogy, neighbours
from pages.charts import static
from pages.charts.palette import BASELINE, ERROR, EVENT, GOOD, TEXT, TRAIN, VALIDATION

WORDS = ("King", "Queen", "Man", "Woman")
KING, QUEEN, MAN, WOMAN = range(4)
KINGS = {"0.7, as in its table": 0.7, "0.5, as in its text": 0.5}
COLOURS = (VALIDATION, EVENT, TRAIN, GOOD)


def words(king: float) -> Tensor:
    """The four words (4, 2): how royal, and how male (above 0) or female (below) each is said to be."""
    return torch.tensor([[1.0, king], [1.0, -0.5], [0.0, 0.5], [0.0, -0.5]], dtype=torch.float64)


def king_and_queen() -> None:
    """The plot, and the arithmetic beside it."""
    left, right = st.columns([3, 2], gap="medium")
    with right:
        king = st.segmented_control(
            "King's second number", list(KINGS), default=next(iter(KINGS)), required=True, key="king"
        )
        table = words(KINGS[king])
        result = analogy(table, KING, MAN, WOMAN)
        ranked = neighbours(table, result)
        arithmetic(table, result, ranked)
    with left:
        static.show(
            figure_of_words(table, result),
            "words",
            "Words as points: King − Man + Woman",
            "Each word is a point with two numbers, and the sum is walked along the arrows: from King, back along Man, "
            "then along Woman. A good embedding ends near Queen: near, not on it, unless the numbers were made for it.",
            height=430,
        )


def arithmetic(table: Tensor, result: Tensor, ranked: list[Neighbour]) -> None:
    """The sum in numbers, and which word is nearest to it."""
    static.heading(
        "The sum, computed",
        "Each word's distance from the result and the cosine of the angle between them, nearest first. Equal would be "
        "distance 0 and cosine 1; nearest is all that such arithmetic promises.",
    )
    st.text(
        f"King − Man + Woman\n= {as_point(table[KING])} − {as_point(table[MAN])} + {as_point(table[WOMAN])}\n"
        f"= {as_point(result)}"
    )
    rows = [
        {
            "word": WORDS[one.row],
            "its numbers": as_point(table[one.row]),
            "distance": round(one.distance, 3),
            "cosine": round(one.cosine, 3),
        }
        for one in ranked
    ]
    st.dataframe(rows, hide_index=True, width="stretch")
    away = min(one.distance for one in ranked if one.row == QUEEN)
    royal, common = table[KING] - table[MAN], table[QUEEN] - table[WOMAN]
    if away < 1e-9:
        st.text(
            "With these numbers the sum is Queen exactly, because King − Man and Queen − Woman are the same step, "
            f"{as_point(royal)}. The document gives King 0.7 in its table and 0.5 in its text; its equation needs 0.5."
        )
    else:
        st.text(
            f"The sum is nearest to Queen, not equal to it: {away:.1f} away. King − Man is the step {as_point(royal)}, "
            f"Queen − Woman the step {as_point(common)}; their difference, {as_point(royal - common)}, is what is "
            "missing."
        )


def figure_of_words(table: Tensor, result: Tensor) -> go.Figure:
    """The words, the sum as arrows, and how far its end is from Queen."""
    figure = static.plane("royalty", "gender: male above 0, female below")
    for word, (x, y), colour in zip(WORDS, table.tolist(), COLOURS, strict=True):
        figure.add_scatter(x=[0, x], y=[0, y], mode="lines", line={"color": colour, "width": 2}, hoverinfo="skip")
        figure.add_scatter(
            x=[x],
            y=[y],
            mode="markers+text",
            text=[f"{word} {as_point(torch.tensor([x, y]))}"],
            textposition=f"{'bottom' if x > 0 > y else 'top'} {'left' if x > 0 else 'right'}",  # inward, for a phone
            textfont={"color": colour, "size": 16},
            marker={"color": colour, "size": 11},
            hoverinfo="skip",
        )
    king, between, end = (point.tolist() for point in (table[KING], table[KING] - table[MAN], result))
    for (x0, y0), (x1, y1) in ((king, between), (between, end)):
        figure.add_annotation(
            x=x1, y=y1, ax=x0, ay=y0, xref="x", yref="y", axref="x", ayref="y", text="", showarrow=True,
            arrowhead=2, arrowsize=1.3, arrowwidth=2, arrowcolor=TEXT,
        )  # fmt: skip
    queen = table[QUEEN].tolist()
    figure.add_scatter(
        x=[end[0], queen[0]],
        y=[end[1], queen[1]],
        mode="lines",
        line={"color": ERROR, "dash": "dot", "width": 3},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[end[0]],
        y=[end[1]],
        mode="markers+text",
        text=[f"the sum {as_point(result)}"],
        textposition="middle left",
        textfont={"size": 16, "color": TEXT},
        marker={"color": TEXT, "size": 12, "symbol": "x"},
        hoverinfo="skip",
    )
    figure.add_hline(y=0, line={"color": BASELINE, "width": 1})
    figure.update_layout(
        showlegend=False, xaxis={"range": [-0.25, 1.25], "zeroline": True}, yaxis={"range": [-0.85, 0.95]}
    )
    return figure


def as_point(numbers: Tensor) -> str:
    """Two numbers as people write a point."""
    told = (f"{number:.4g}" for number in (numbers.round(decimals=9) + 0.0).tolist())  # + 0.0: no -0
    return f"({', '.join(told)})".replace("-", "−")
