"""The panels of the small models on points, a line and a logistic layer, which see all examples in every step."""

from __future__ import annotations

from pages.charts.live_figures import live_heatmap, step_chart
from pages.charts.palette import TRAIN
from pages.charts.panel import LOSS_UNITS, Panel, RunInfo


def loss(info: RunInfo) -> Panel:
    """The loss on all examples, step by step."""
    figure = step_chart(f"loss, {LOSS_UNITS[info.model]}", events="text")
    figure.add_scatter(name="train", mode="lines", line={"color": TRAIN, "width": 3}, meta={"channel": "train/loss"})
    return Panel(
        key="loss",
        title="Loss",
        help=(
            "How wrong the model is on all its examples at once, so nothing scatters from batch to batch. Healthy is "
            "a fall at every step; a loss that swings or grows says that the learning rate is too high."
        ),
        area="main",
        figure=figure,
    )


def weights() -> Panel:
    """The logistic layer's weights and their gradient."""
    views = [
        {"name": "weights", "channel": "weights/w", "scale": "signed"},
        {"name": "gradient", "channel": "gradients/w", "scale": "signed"},
    ]
    return Panel(
        key="table",
        title="Weights",
        help=(
            "A row is one of the five inputs, a column one of the three outputs. All inputs are 1 here, so all rows "
            "of the gradient are equal: each weight of a column is to blame to the same degree."
        ),
        area="side",
        figure=live_heatmap(views, "output", "input"),
    )
