"""The panels of the small models on points, a line and a logistic layer, which see all examples in every step."""

from __future__ import annotations

from engine.models.base import Model
from pages.charts.live_figures import step_chart
from pages.charts.palette import TRAIN
from pages.charts.panel import Panel


def loss(model: type[Model]) -> Panel:
    """The loss on all examples, step by step."""
    figure = step_chart(f"loss, {model.loss_unit}", events="text")
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
