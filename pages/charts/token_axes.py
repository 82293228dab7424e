"""Axes that count tokens: every position is labelled with its token, as far as the chart's width allows.

Two tokens may look the same, so each position is a category of its own and the token only its label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import plotly.graph_objects as go

LONGEST_NAME = 6  # characters of a token in a cell


def places(names: Sequence[str]) -> list[str]:
    """The categories of an axis with these names, for the traces on it."""
    return [str(i) for i in range(len(names))]


def name_axis(figure: go.Figure, names: Sequence[str], side: Literal["x", "y"] = "x") -> None:
    """Label the positions of all x (or y) axes of `figure` with `names`, which are already literal."""
    at = places(names)
    figure.update_traces({side: at}, selector={"type": "heatmap"})
    update = figure.update_xaxes if side == "x" else figure.update_yaxes
    update(type="category", tickmode="auto", labelalias=dict(zip(at, names, strict=True)), showgrid=False, tickangle=0)


def shortened(token: str) -> str:
    """A token cut to at most LONGEST_NAME characters, for a cell."""
    return token if len(token) <= LONGEST_NAME else token[: LONGEST_NAME - 1] + "…"
