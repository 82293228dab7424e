"""The live panel of the page Inside: how far a bigram's table still is from the frequencies of its text."""

from __future__ import annotations

import plotly.graph_objects as go

from pages.charts.palette import TRAIN
from pages.charts.panel import Panel, RunInfo


def inside_panels(info: RunInfo) -> list[Panel]:
    """The KL divergence over training, for a bigram; other models have none."""
    return [_divergence()] if info.has("pairs") else []


def _divergence() -> Panel:
    figure = go.Figure()
    figure.add_scatter(
        name="KL",
        mode="lines+markers",
        line={"color": TRAIN, "width": 3},
        marker={"color": TRAIN, "size": 6, "maxdisplayed": 60},
        meta={"channel": "kl"},
    )
    figure.update_layout(
        template=None,
        meta={"events": True},
        showlegend=False,
        hovermode="x unified",
        margin={"l": 66, "r": 14, "t": 8, "b": 46},
        xaxis={"title": {"text": "step"}, "rangemode": "tozero", "separatethousands": True, "exponentformat": "none"},
        yaxis={"title": {"text": "KL divergence, nats"}, "type": "log", "exponentformat": "power"},
    )
    return Panel(
        key="kl",
        title="Left to learn: KL divergence of the text from the table",
        help=(
            "How far the model's probabilities are from how often each character really follows each other one, "
            "averaged over the training text: its exact loss less the floor of any bigram. Healthy is a steady fall "
            "towards 0; where it levels off, only the learning rate keeps it from its floor."
        ),
        area="main",
        figure=figure,
    )
