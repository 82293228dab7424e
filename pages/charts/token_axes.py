"""Axes of tokens: each place has its token's name, and as many names are drawn as the width of the chart allows.

Several tokens may have one name, so a place is a category of its own and the name only its label.
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
    """Give all x (or y) axes of `figure` these names, already literal, one for each place; heatmaps get the places."""
    at = places(names)
    figure.update_traces({side: at}, selector={"type": "heatmap"})
    update = figure.update_xaxes if side == "x" else figure.update_yaxes
    update(type="category", tickmode="auto", labelalias=dict(zip(at, names, strict=True)), showgrid=False, tickangle=0)


def shortened(token: str) -> str:
    """A token as it stands in a cell, at most LONGEST_NAME characters."""
    return token if len(token) <= LONGEST_NAME else token[: LONGEST_NAME - 1] + "…"
