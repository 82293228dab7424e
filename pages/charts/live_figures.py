"""The parts that live charts are made of: a chart over steps, its curves, and a table in colour."""

from __future__ import annotations

import math
from dataclasses import replace

import plotly.graph_objects as go

from engine.formatting import format_layer
from engine.models.base import EMBEDDING, Heatmap
from engine.stream.series import GAPS
from engine.training.probes import Quantity
from pages.charts.palette import ERROR, LAYERS, PANEL, TRAIN, VALIDATION
from pages.charts.panel import Panel, RunInfo

MOST_CELLS = 96  # a larger table comes with its neighbours averaged


def step_chart(y_title: str, *, log: bool = False, events: bool | str = True) -> go.Figure:
    """An empty chart over steps; `y_title` names quantity and unit."""
    figure = go.Figure()
    figure.update_layout(
        template=None,
        meta={"events": events},
        showlegend=False,
        hovermode="x unified",
        margin={"l": 66, "r": 14, "t": 8, "b": 46},
        xaxis={"title": {"text": "step"}, "rangemode": "tozero", "separatethousands": True, "exponentformat": "none"},
        yaxis={
            "title": {"text": y_title},
            "type": "log" if log else "linear",
            "tickformat": ",.5~g",
            "automargin": "left",
        },
    )
    return figure


def add_raw_and_smoothed(figure: go.Figure, channel: str, name: str) -> None:
    """Add the value of every batch as a faint line, and their moving average as a bold one."""
    figure.add_scatter(
        name="each batch",
        mode="lines",
        line={"color": TRAIN, "width": 1},
        opacity=0.35,
        showlegend=False,
        meta={"channel": channel},
    )
    figure.add_scatter(
        name=name, mode="lines", line={"color": TRAIN, "width": 3}, meta={"channel": channel, "smooth": True}
    )
    figure.add_scatter(
        name="not a number",
        mode="markers",
        marker={"color": ERROR, "size": 8, "symbol": "x"},
        showlegend=False,
        meta={"channel": channel + GAPS},
    )


def add_validation(figure: go.Figure) -> None:
    """Add the validation losses, and a star at the lowest."""
    figure.add_scatter(
        name="validation",
        mode="lines+markers",
        line={"color": VALIDATION, "width": 2},
        marker={"color": VALIDATION, "size": 7, "maxdisplayed": 60},
        meta={"channel": "val/loss"},
    )
    figure.add_scatter(
        name="its lowest",
        mode="markers",
        marker={"color": VALIDATION, "size": 15, "symbol": "star", "line": {"color": PANEL, "width": 1}},
        meta={"channel": "val/loss", "only": "lowest"},
    )


def add_layers(figure: go.Figure, info: RunInfo, channel: str) -> None:
    """Add a thin line for each layer, from input to output; nothing for a model of one layer."""
    if len(info.layers) < 2:
        return
    for index, layer in enumerate(info.layers):
        shade = LAYERS[math.floor(index * (len(LAYERS) - 1) / (len(info.layers) - 1))]
        figure.add_scatter(
            name=layer if info.model is None else format_layer(layer),
            mode="lines",
            line={"color": shade, "width": 1.5},
            meta={"channel": f"{channel}/{layer}", "group": "layers"},
        )


def layer_note(info: RunInfo) -> str:
    """The sentence of a chart's help that explains the layers' lines; empty for a model of one layer."""
    return (
        " Thin lines are single layers, from the input (blue) to the output (yellow)." if len(info.layers) > 1 else ""
    )


def learning_rate() -> Panel:
    """The learning rate of each step, and faintly what the schedule has ahead."""
    figure = step_chart("learning rate")
    figure.add_scatter(
        name="planned",
        mode="lines",
        line={"color": TRAIN, "width": 2, "dash": "dot"},
        opacity=0.5,
        meta={"channel": "lr", "only": "planned"},
    )
    figure.add_scatter(name="in force", mode="lines", line={"color": TRAIN, "width": 3}, meta={"channel": "lr"})
    return Panel(
        key="learning_rate",
        title="Learning rate",
        help=(
            "How far an update may move the weights, step by step; dotted is what the schedule has planned. A warm-up "
            "climbs while the optimizer has seen little, and the fall at the end lets the weights settle. The knob "
            "sets the peak: turn it, or the iterations, and the rest is planned anew from that step."
        ),
        area="left",
        figure=figure,
    )


def live_heatmap(views: list[dict[str, str]], columns: str, rows: str, tokens: str = "") -> go.Figure:
    """An empty table; the board reads `views` and `tokens` (see `panel`); `columns` and `rows` are the axis titles."""
    figure = go.Figure(go.Heatmap(zsmooth=False, meta={"views": views}))
    figure.update_layout(
        template=None,
        meta={"tokens": tokens},
        margin={"l": 48, "r": 8, "t": 6, "b": 46},
        xaxis={"title": {"text": columns}, "ticks": "", "showgrid": False, "zeroline": False},
        yaxis={
            "title": {"text": rows},
            "autorange": "reversed",
            "ticks": "",
            "showgrid": False,
            "zeroline": False,
        },
    )
    return figure


def table(info: RunInfo, shown: Heatmap) -> Panel:
    """A table of the model in colour: weights, gradient, and where a row is scores the probabilities they stand for."""
    if shown.softmax and len(info.tokens) > MOST_CELLS:  # a pooled row is no row of the model's
        shown = replace(EMBEDDING, table=shown.table)
    weights, gradients = f"weights/{shown.table}", f"gradients/{shown.table}"
    views = [
        {"name": "weights", "channel": weights, "scale": "signed", "bar": "weight"},
        {"name": "gradient", "channel": gradients, "scale": "signed", "bar": "gradient of the loss"},
    ]
    if shown.softmax:  # what has been learnt, first
        bar = "probability"
        views.insert(0, {"name": "prob", "channel": weights, "scale": "probability", "rows": "softmax", "bar": bar})
    figure = live_heatmap(views, shown.columns, shown.rows, tokens=shown.tokens)
    if shown.tokens and any(len(token) > 1 for token in info.tokens):
        figure.update_layout(margin={"l": 92})  # room for tokens of several characters
    return Panel(key="table", title=shown.title, help=shown.help, area="side", figure=figure)


def gauge(shown: Quantity) -> Panel:
    """The chart of a quantity that was added to `engine.training.probes`; its docstring says how to read it."""
    figure = step_chart(f"{shown.title}, {shown.unit}")
    figure.add_scatter(name=shown.title, mode="lines", line={"color": TRAIN, "width": 3}, meta={"channel": shown.name})
    return Panel(key=shown.name, title=shown.title, help=shown.measure.__doc__ or "", area="left", figure=figure)
