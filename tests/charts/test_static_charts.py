"""A static figure in the page's theme: put together as plain JSON, and what Plotly itself would make of it."""

from __future__ import annotations

import json

import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from pages.charts.palette import FIGURE_FONT, colours
from pages.charts.static import FONT, heatmap, merged, plane, themed


def subplots() -> go.Figure:
    figure = make_subplots(2, 2, subplot_titles=list("abcd"))
    for place in range(4):
        figure.add_heatmap(z=np.eye(3), row=place // 2 + 1, col=place % 2 + 1)
    return figure


def curve() -> go.Figure:
    figure = plane("step", "loss", log_y=True).add_scatter(x=[1, 2], y=[3, 4], name="train")
    return figure.add_hline(3, annotation_text="floor")


FIGURES = {
    "curve": curve,
    "bars": lambda: go.Figure(go.Bar(x=[1], y=["k"], orientation="h")).update_layout(legend={"y": 2}),
    "signed": lambda: heatmap(np.eye(4) - 0.5, scale="signed", x=list("abcd"), y=list("abcd")),
    "probability": lambda: heatmap(np.eye(4), scale="probability", text=[["1"] * 4] * 4),
    "subplots": subplots,
    "empty": go.Figure,
}


@pytest.mark.parametrize("kind", FIGURES)
def test_a_themed_figure_is_what_plotly_itself_makes_of_it(kind: str) -> None:
    quiet, grid, text = (colours("dark")[meaning] for meaning in ("baseline", "grid", "text"))
    by_plotly: go.Figure = FIGURES[kind]()
    font, clear = {"size": FIGURE_FONT, "color": quiet}, "rgba(0,0,0,0)"
    axis = {"gridcolor": grid, "linecolor": grid, "zerolinecolor": grid, "automargin": True, "tickfont": font}
    by_plotly.update_layout(font={"size": FIGURE_FONT, "color": text, "family": FONT}, separators=".,")
    by_plotly.update_layout(paper_bgcolor=clear, plot_bgcolor=clear, margin={"l": 10, "r": 10, "t": 10, "b": 10})
    by_plotly.update_layout(legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "left", "x": 0})
    by_plotly.update_layout(hoverlabel={"font": {"size": FIGURE_FONT, "family": FONT}}, margin={"t": 30})
    by_plotly.update_xaxes(title={"font": font, "standoff": 6}, **axis)
    by_plotly.update_yaxes(title={"font": font, "standoff": 6}, **axis)
    by_plotly.update_traces(colorbar_tickfont=font, selector={"type": "heatmap"})
    by_json = themed(FIGURES[kind](), "dark", layout={"margin": {"t": 30}})
    assert json.loads(by_json.to_json()) == json.loads(by_plotly.to_json())
    assert "template" not in by_json.to_plotly_json()["layout"]


def test_what_is_merged_keeps_what_it_does_not_name() -> None:
    part = {"title": {"text": "loss"}, "type": "log"}
    assert merged(part, {"title": {"font": 1}, "side": 2}) == {
        "title": {"text": "loss", "font": 1},
        "type": "log",
        "side": 2,
    }
    assert part == {"title": {"text": "loss"}, "type": "log"}
