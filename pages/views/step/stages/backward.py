"""The backward stage: gradients as heatmaps, and one gradient compared with a measured slope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from torch import Tensor

from engine.analysis.gradient_check import (
    NUDGE,
    Slope,
    float64_copy,
    losses_along,
    slope_at,
    to_float64,
    visible_distance,
)
from engine.stream.downsampling import bin_starts
from engine.training.probes import pooled
from pages.charts.palette import EVENT, TRAIN
from pages.charts.static import heading, heatmap, literal, plane, show
from pages.charts.token_axes import name_axis
from pages.views.shared.inspected_step import InspectedStep
from pages.views.step.stages.by_hand import by_hand_view
from pages.views.step.stages.shared import (
    cached,
    digits,
    document_note,
    fewer_ticks,
    gradient_of,
    number_table,
    short,
    tokens_on,
    weight_name,
    weight_picker,
)

CURVE = (-1.0, -0.7, -0.4, -0.2, 0.0, 0.2, 0.4, 0.7, 1.0)
LARGE = 2_000_000
SIDES: tuple[Literal["x", "y"], ...] = ("y", "x")


def backward_view(shown: InspectedStep) -> None:
    """What backward() left in .grad, and what it means."""
    name, spot = weight_picker(shown)
    gradient = gradient_of(shown, name)
    one, other = st.columns([5, 4])
    with one:
        table(shown, name, gradient, "step_gradient", "The gradient of the parameter", GRADIENT_HELP)
        touched_weights(shown, name, gradient)
    with other:
        slope_check(shown, name, spot, float(gradient[spot]))
    by_hand_view(shown, name, spot)


GRADIENT_HELP = (
    "A cell is the slope of the loss in one weight: orange, the loss grows when this weight grows; blue, it falls. "
    "Rows of tokens that the batch does not contain are exactly 0."
)


def table(shown: InspectedStep, name: str, values: Tensor, key: str, title: str, help: str) -> None:
    """A tensor of a parameter's shape as a heatmap, pooled if it is large, with tokens on the axes that count them."""
    rows = values.reshape(-1, values.shape[-1]) if values.dim() > 1 else values.reshape(1, -1)
    cells = pooled(rows)
    few = len(cells) <= 10 and cells.shape[1] <= 5
    figure = fewer_ticks(
        heatmap(
            cells,
            scale="signed",
            text=[[short(float(f"{v:.2g}")) for v in line] for line in cells] if few else None,
            y_title=("token" if tokens_on(shown, name, 0) else "row") if values.dim() > 1 else "",
            x_title="next token" if tokens_on(shown, name, 1) else "column",
        )
    )
    figure.update_traces(showscale=not few)
    for axis, side in enumerate(SIDES):
        if tokens := tokens_on(shown, name, axis):
            name_axis(figure, [literal(tokens[i]) for i in bin_starts(len(tokens))], side)
    show(figure, key, title, help, height=120 + 50 * len(cells) if len(cells) <= 6 else 460)
    if cells.shape != tuple(rows.shape):
        st.caption(f"{tuple(rows.shape)} is drawn as {cells.shape}: neighbours are averaged.")


def touched_weights(shown: InspectedStep, name: str, gradient: Tensor) -> None:
    """How much of a parameter this batch reaches."""
    zero = int((gradient == 0).sum())
    line = f"{gradient.numel() - zero:,} of {gradient.numel():,} weights have a gradient, {zero:,} have exactly 0."
    if tokens_on(shown, name, 0) and gradient.dim() == 2:
        rows = int((gradient != 0).any(1).sum())
        line += f" {rows} of {len(gradient)} rows are touched."
    st.text(line)


def slope_check(shown: InspectedStep, name: str, spot: Sequence[int], found: float) -> None:
    """The gradient of one weight beside a finite difference, on a float64 copy, and as a tangent."""
    checked, offsets, losses = cached(
        shown, f"slope of {weight_name(shown, name, spot)}", lambda: measured(shown, name, spot)
    )
    heading(
        "A gradient is a slope",
        "The weight is nudged up and down on a copy in float64, and the loss is computed anew each time. Autograd's "
        "slope and the measured one agree to many digits.",
    )
    number_table(
        [
            ("autograd, float64", repr(checked.analytic).replace("-", "−")),
            (f"(L(w + {NUDGE:g}) − L(w − {NUDGE:g})) / {2 * NUDGE:g}", repr(checked.numeric).replace("-", "−")),
            ("relative error", f"{checked.relative_error:.1e}"),
            ("the run's own .grad, float32", digits(found)),
        ],
        (weight_name(shown, name, spot), "value"),
    )
    if shown.config.dropout:
        st.caption("The copy computes without dropout, so that nothing is drawn by chance; the run's own .grad has it.")
    if offsets:
        show(
            tangent(float(shown.before[name][tuple(spot)]), offsets, losses, checked.analytic),
            "step_tangent",
            "The loss along this one weight",
            "Blue is the loss for other values of this weight, all others as they are; pink is the line with the "
            "gradient as its slope. They touch where the weight is now and part further away.",
            height=260,
        )
    document_note(
        "document 000",
        "The gradient is the adjustment of a weight, opposite to the error.",
        f"The number {short(found)} is a slope: if this weight alone grows by a little, the loss changes by "
        f"{short(found)} times as much. It says nothing about how far to go; that is the optimizer's part.",
    )


def measured(shown: InspectedStep, name: str, spot: Sequence[int]) -> tuple[Slope, list[float], list[float]]:
    """The slope computed both ways; and, if the model is quick enough, the loss for other values of the weight."""
    model = float64_copy(shown.config, shown.dataset.vocab_size, shown.before)
    batch = to_float64(shown.trainer.inputs), to_float64(shown.trainer.targets)
    found = slope_at(model, *batch, name, spot)
    if shown.model.parameter_count() > LARGE:
        return found, [], []
    reach = visible_distance(model, *batch, name, spot, found.analytic)
    offsets = [reach * share for share in CURVE]
    return found, offsets, losses_along(model, *batch, name, spot, offsets)


def tangent(value: float, offsets: Sequence[float], losses: Sequence[float], gradient: float) -> go.Figure:
    """The loss against one weight, and its tangent."""
    figure = plane("the weight's value", "loss")
    xs = [value + offset for offset in offsets]
    here = losses[list(offsets).index(0.0)]
    figure.add_scatter(
        x=xs, y=list(losses), mode="lines+markers", line={"color": TRAIN, "shape": "spline"}, name="loss"
    )
    line = [here + gradient * offset for offset in offsets]
    figure.add_scatter(x=xs, y=line, mode="lines", line={"color": EVENT, "width": 2}, name="slope = gradient")
    figure.add_scatter(x=[value], y=[here], mode="markers", marker={"color": EVENT, "size": 11}, showlegend=False)
    spread = max(losses) - min(losses) or float(np.ptp(line)) or 1.0
    figure.update_yaxes(range=[min(losses) - 0.15 * spread, max(losses) + 0.15 * spread])
    return figure
