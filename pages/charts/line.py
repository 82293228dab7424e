"""The live panels of a line through points: the moving line, the loss surface with the path over it, the loss.

The figures carry what stands still (points, contours, the best line); the board draws what moves. A panel of kind
"plane" has two quantities on its axes, neither of them the step. Its traces say in `meta` what feeds them; each key
names the channels of its numbers in order:

- `line`: [slope, intercept]; the line with their newest values, from edge to edge.
- `residuals`: [slope, intercept]; from each point of the trace marked `points` vertically to that line.
- `path`: [x, y]; all values so far, step by step.
- `here`: [x, y]; the newest values.
- `downhill`: [x, y, slope in x, slope in y]; an arrow of constant length against the newest gradient, from where it
  was measured, which is where the newest step began.
- `label`: the text in the legend, with {0}, {1} … replaced by the newest values of the trace's channels.
- `points`: True marks the trace whose points the residuals belong to.

A layout says in `meta`:

- `square`: [x, y, half]: the view's middle and half its shorter side; a unit has the same length on both axes.
- `widest`: how many times wider the view may become, by doubling, before the path has left what is drawn around it:
  the view follows on, with the newest points of the path alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go

from engine.analysis.least_squares import (
    Floats,
    Point,
    curvature,
    fit_polynomial,
    level_ellipse,
    loss_at,
    minimum,
    xy_arrays,
)
from engine.errors import InputError
from engine.models.base import Model
from pages.charts.palette import BASELINE, FIGURE_FONT, LOWER_LOSS, PANEL, RING, TEXT, TRAIN
from pages.charts.panel import Panel, RunInfo
from pages.charts.points import loss

WEIGHTS = ["parameter/a", "parameter/b"]
SLOPES = ["gradient/a", "gradient/b"]
WIDEST = 16
RINGS = 26
TRACE = {"hoverinfo": "skip", "mode": "lines"}


def line_panels(info: RunInfo) -> list[Panel]:
    """The panels of First steps; none for a run that is not a line."""
    if info.model is None or not info.points:
        return []
    return [_moving_line(info.points), _surface(info.points), _loss(info.model, info.points)]


def _moving_line(points: tuple[Point, ...]) -> Panel:
    x, y = xy_arrays(points)
    figure = _plane("x", "y", _around(x), _around(np.append(y, 0.0)))  # y = 0 is where the line begins
    try:
        b, a = fit_polynomial(points, 1).coefficients
    except InputError:
        pass  # no single best line: nothing to draw
    else:
        ends = np.array(_around(x)) + np.array([-20, 20]) * np.ptp(_around(x))
        figure.add_scatter(
            name="least squares",
            x=ends.tolist(),
            y=(a * ends + b).tolist(),
            line={"color": BASELINE, "width": 2, "dash": "dash"},
            **TRACE,
        )
    figure.add_scatter(
        name="residuals",
        line={"color": TRAIN, "width": 1.5, "dash": "dot"},
        meta={"residuals": WEIGHTS},
        showlegend=False,
        **TRACE,
    )
    figure.add_scatter(
        name="the line",
        line={"color": TRAIN, "width": 4},
        meta={"line": WEIGHTS, "label": "a = {0}, b = {1}"},
        **TRACE,
    )
    figure.add_scatter(
        name="points",
        x=x.tolist(),
        y=y.tolist(),
        mode="markers",
        marker={"color": TEXT, "size": 12, "line": {"color": PANEL, "width": 2}},
        hovertemplate="(%{x}, %{y})<extra></extra>",
        meta={"points": True},
        showlegend=False,
    )
    return Panel(
        key="line",
        title="The line over the points",
        help=(
            "The blue line is the model with its weights of this moment, and the dotted lines are its residuals: what "
            "it misses at each point. Healthy is a line that settles on the dashed one, which no other line beats in "
            "mean squared error; a line that swings wider at each step has too high a learning rate."
        ),
        area="main",
        kind="plane",
        figure=figure,
    )


def _surface(points: tuple[Point, ...]) -> Panel:
    a, b = minimum(points)
    half = 0.85 * max(abs(a), abs(b)) or 1.0  # the start (0, 0) and the minimum are both in view
    middle = (a / 2, b / 2)
    ends = [(at - half, at + half) for at in middle]
    figure = _plane("a, slope", "b, intercept", *ends)
    figure.update_layout(meta={"square": [*middle, half], "widest": WIDEST})
    _rings(figure, points, half)
    figure.add_scatter(
        name="path",
        mode="lines+markers",
        line={"color": TRAIN, "width": 2},
        marker={"color": TRAIN, "size": 5},
        hoverinfo="skip",
        meta={"path": WEIGHTS},
        showlegend=False,
    )
    figure.add_scatter(
        name="downhill",
        mode="lines+markers",
        line={"color": TEXT, "width": 2.5},
        marker={"color": TEXT, "symbol": "arrow", "size": [0, 14], "angleref": "previous"},
        hoverinfo="skip",
        meta={"downhill": [*WEIGHTS, *SLOPES], "label": "downhill; gradient ({2}, {3})"},
    )
    figure.add_scatter(
        name="least",
        x=[a],
        y=[b],
        mode="markers",
        marker={"color": BASELINE, "symbol": "x", "size": 11},
        hovertemplate="a %{x:.4~g}, b %{y:.4~g}<extra>least loss</extra>",
    )
    figure.add_scatter(
        name="now",
        mode="markers",
        marker={"color": TRAIN, "size": 12, "line": {"color": PANEL, "width": 2}},
        hovertemplate="a %{x:.4~g}, b %{y:.4~g}<extra>now</extra>",
        meta={"here": WEIGHTS},
        showlegend=False,
    )
    return Panel(
        key="surface",
        title="Loss of every line",
        help=(
            "Each place is a line, its slope across and its intercept up; on a ring all have the same loss, twice as "
            "far above the least as on the ring inside it, and where it is shaded it is less than at the start. The "
            "path is the training so far, the arrow the way down, against the gradient, from where the newest step "
            "began. Healthy is a path that runs into the cross; one that jumps from side to side of the valley, wider "
            "each time, has too high a learning rate."
        ),
        area="side",
        kind="plane",
        figure=figure,
    )


def _rings(figure: go.Figure, points: tuple[Point, ...], half: float) -> None:
    """Rings of equal loss, from close around the minimum to beyond the widest view, each twice as far above it."""
    longest = 8 * WIDEST * half
    steepest = float(np.linalg.eigvalsh(curvature(points)).max())
    least, start = loss_at(points, *minimum(points)), loss_at(points, 0.0, 0.0)
    outermost = steepest / 2 * (2 * WIDEST * half) ** 2
    for doubling in range(RINGS):
        above = outermost / 2**doubling
        a, b = level_ellipse(points, above, longest)
        figure.add_scatter(
            x=a.round(9).tolist(),
            y=b.round(9).tolist(),
            mode="lines",
            line={"color": RING, "width": 1},
            fill="toself" if above <= start - least else None,
            fillcolor=LOWER_LOSS,
            hoveron="points",
            hovertemplate=f"a %{{x:.4~g}}, b %{{y:.4~g}}<br>loss {least + above:.4g}<extra></extra>",
            showlegend=False,
        )


def _loss(model: type[Model], points: tuple[Point, ...]) -> Panel:
    """The loss over steps, as on Train, with the least that any line can reach."""
    panel = loss(model)
    assert panel.figure is not None
    panel.figure.update_yaxes(title_text="loss, y squared", rangemode="tozero")  # in a flat panel
    least = loss_at(points, *minimum(points))
    if least > 1e-12 * max(1.0, max(y * y for _, y in points)):
        panel.figure.add_hline(
            y=least,
            line={"color": BASELINE, "dash": "dash", "width": 1.5},
            annotation={
                "text": f"least squares {least:.4g}: no line has less",
                "font": {"color": BASELINE, "size": FIGURE_FONT},
            },
            annotation_position="top right",
        )
    return replace(panel, area="foot")


def _plane(x_title: str, y_title: str, x: Point, y: Point) -> go.Figure:
    """An empty chart with titled axes that show the ranges `x` and `y`."""
    figure = go.Figure()
    figure.update_layout(
        template=None,
        showlegend=False,
        hovermode="closest",
        margin={"l": 58, "r": 14, "t": 8, "b": 46},
        xaxis={"title": {"text": x_title}, "range": list(x), "exponentformat": "power"},
        yaxis={"title": {"text": y_title}, "range": list(y), "exponentformat": "power"},
    )
    return figure


def _around(values: Floats) -> Point:
    """A range that holds all of `values`, with a margin."""
    low, high = float(values.min()), float(values.max())
    room = 0.35 * (high - low) or max(1.0, 0.5 * abs(high))
    return low - room, high + room
