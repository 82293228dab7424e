"""The live charts of the Embeddings page: the table, and its rows as points of a plane.

The plane has one trace for each kind of token. A trace's meta names its channel (`channel`, a table of V rows and 2
columns) and which rows of it are its own (`rows`); the layout's meta names the channels that say how much of the
variance lies along each axis (`shares`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import plotly.graph_objects as go

from pages.charts.live_figures import table
from pages.charts.palette import BASELINE, EVENT, GOOD, LAYERS, TRAIN, VALIDATION
from pages.charts.panel import Panel, RunInfo

KINDS = {
    "vowels": VALIDATION,
    "consonants": TRAIN,
    "capitals": EVENT,
    "digits": GOOD,
    "punctuation, blanks": BASELINE,
    "other": LAYERS[5],
}
VOWELS = frozenset("aeiouæœøαεηιουωаеёиоуыэюя")
MOST_POINTS = 1000  # as many rows as the engine projects
MOST_WORDS = 150  # more tokens than this are drawn as dots with their names on hover


def kind_of(token: str) -> str:
    """Which of `KINDS` a token is; letters with accents count as the letter below the accent."""
    if len(token) != 1:
        return "other"
    if token.isdecimal():
        return "digits"
    if not token.isalpha():
        return "punctuation, blanks"
    if token.isupper():
        return "capitals"
    if not token.islower():
        return "other"
    return "vowels" if unicodedata.normalize("NFD", token)[0] in VOWELS else "consonants"


def embedding_panels(info: RunInfo) -> list[Panel]:
    """The panels of the Embeddings page; none for a model that reads no tokens."""
    if info.model is None or info.model.heatmap is None or not info.has("embedding"):
        return []
    return [_plane(info.tokens), table(info, info.model.heatmap)]


def _plane(tokens: Sequence[str]) -> Panel:
    rows: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for row, token in enumerate(tokens[:MOST_POINTS]):
        rows[kind_of(token)].append(row)
    figure = go.Figure()
    for kind, own in rows.items():
        if not own:
            continue
        figure.add_scatter(
            name=kind,
            mode="text" if len(tokens) <= MOST_WORDS else "markers",
            textfont={"color": KINDS[kind], "size": 17},
            marker={"color": KINDS[kind], "size": 7},
            meta={"channel": "projection/token_embedding", "rows": own},
        )
    figure.update_layout(
        template=None,
        meta={"shares": ["explained_variance/1", "explained_variance/2"]},
        showlegend=False,
        hovermode="closest",
        margin={"l": 56, "r": 10, "t": 6, "b": 46},
        xaxis={"title": {"text": "first axis"}, "zeroline": False},
        yaxis={"title": {"text": "second axis"}, "zeroline": False, "scaleanchor": "x"},
    )
    some = f" These are the first {MOST_POINTS:,} tokens." if len(tokens) > MOST_POINTS else ""
    return Panel(
        key="plane",
        title="Tokens in a plane",
        help=(
            "Each token's row of the table, seen from the side on which the rows differ most (principal component "
            "analysis): near each other means alike, as far as two of the many dimensions can show it. Healthy: a "
            f"cloud in no order at first, then groups; the axes mean nothing by themselves.{some}"
        ),
        area="main",
        kind="scatter",
        figure=figure,
    )
