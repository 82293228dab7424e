"""The picture of a sweep: the loss that each value of a knob came to, so far.

While it forms it is a plain SVG: Streamlit builds a Plotly chart anew at each change, which is seen as a flicker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

import plotly.graph_objects as go

from engine.formatting import format_setting
from engine.sweeps.sweep import Point, best_point
from pages.charts import static
from pages.charts.palette import BASELINE, ERROR, FIGURE_FONT, GOOD, TEXT, TRAIN, TWINS, Theme
from pages.charts.palette import colours as palette_colours

ROOM = 0.12
"""Of the height, above the highest point and below the lowest."""
WIDTH, HEIGHT = 1100, 430
LEFT, FOOT, EDGE = 62, 46, 14
"""Pixels of the plain picture, and what its plane leaves free at the left, below, and on the other sides."""


class Frame(NamedTuple):
    """What both pictures show: the points in the plane, those at its top as crosses, and the ends of the axes."""

    inside: list[Point]
    out: list[Point]
    best: Point | None
    low: float
    top: float
    """Where the crosses stand."""
    left: float
    right: float
    log_x: bool
    """Are the ends of the axis of values exponents of ten?"""


def frame_of(points: Sequence[Point], first: float | None, guessing: float | None) -> Frame:
    """Heights go from the lowest loss to `first`, the loss before training (None: to the highest point).

    A value that came out higher still, or diverged, is out. The axis of values is logarithmic unless one is 0.
    """
    log_x = all(point.value > 0 for point in points)
    losses = [point.loss for point in points if math.isfinite(point.loss)]
    top = first if first is not None else max(losses, default=1.0)
    low = min([*losses, top, *([guessing] if guessing is not None else [])])
    height = (top - low) or 1.0
    top += ROOM / 2 * height
    inside = [point for point in points if point.loss <= top]
    ends = [math.log10(point.value) if log_x else point.value for point in (points[0], points[-1])]
    wide = max(0.3 if log_x else 1e-9, 0.06 * (ends[1] - ends[0]))
    out = [point for point in points if point not in inside]
    return Frame(inside, out, best_point(inside), low - 1.5 * ROOM * height, top, ends[0] - wide, ends[1] + wide, log_x)


def sweep_figure(
    points: Sequence[Point],
    x_title: str,
    y_title: str,
    first: float | None = None,
    guessing: float | None = None,
    colours: Sequence[str] = (),
) -> go.Figure:
    """The losses of `points` (at least one, by ascending value) against their values, the best one named.

    `guessing` draws the loss of a model that knows nothing; `first` is the loss before training (see `frame_of`).
    Points have the `colours`, in their order, or all the same.
    """
    shown = frame_of(points, first, guessing)
    figure = static.plane(x_title, y_title, log_x=shown.log_x)
    if guessing is not None:
        _draw_line(figure, guessing, f"guessing {guessing:.3f}")
    figure.add_scatter(
        x=[point.value for point in shown.inside],
        y=[point.loss for point in shown.inside],
        mode="lines",
        line={"color": BASELINE, "width": 2},
        hoverinfo="skip",
    )
    shade = dict(zip((point.value for point in points), colours, strict=False))
    for name, some in (("out", shown.out), ("in", shown.inside)):
        figure.add_scatter(
            name=name,
            x=[point.value for point in some],
            y=[shown.top if name == "out" else point.loss for point in some],
            mode="markers",
            marker={
                "size": [16 if point is shown.best else 11 for point in some],
                "color": [ERROR if name == "out" else shade.get(point.value, TRAIN) for point in some],
                "symbol": "x" if name == "out" else "circle",
                "line": {"width": [3 if point is shown.best else 0 for point in some], "color": GOOD},
            },
            unselected={"marker": {"opacity": 1}},
            text=[_told(point) for point in some],
            hovertemplate=f"{x_title} %{{x:~g}}<br>%{{text}}<extra></extra>",
        )
    if shown.best is not None:
        figure.add_annotation(
            x=math.log10(shown.best.value) if shown.log_x else shown.best.value,
            y=shown.best.loss,
            text=_named(shown.best),
            showarrow=False,
            yshift=-22,
            font={"size": FIGURE_FONT + 1, "color": TEXT},
        )
    figure.update_yaxes(range=[shown.low, shown.top + ROOM * (shown.top - shown.low)])
    far = shown.right - shown.left
    figure.update_xaxes(range=[shown.left, shown.right], dtick=1 if shown.log_x and far > 1.5 else None)
    return figure.update_layout(showlegend=False)


def sweep_image(
    points: Sequence[Point],
    x_title: str,
    y_title: str,
    first: float | None,
    guessing: float | None,
    colours: Sequence[str],
    theme: Theme,
) -> str:
    """The same picture as `sweep_figure`, plain, in the colours of `theme`: an HTML image."""
    shown = frame_of(points, first, guessing)
    ground = palette_colours(theme)
    twins = TWINS if theme == "light" else {}
    high = shown.top + ROOM * (shown.top - shown.low)

    def across(value: float) -> float:
        at = math.log10(value) if shown.log_x else value
        return LEFT + (WIDTH - LEFT - EDGE) * (at - shown.left) / (shown.right - shown.left)

    def down(loss: float) -> float:
        return EDGE + (HEIGHT - FOOT - EDGE) * (high - loss) / (high - shown.low)

    def line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
        return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'

    def words(x: float, y: float, text: str, colour: str, anchor: str = "middle", more: str = "") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" {more}>{text}</text>'

    grid, quiet = ground["grid"], ground["baseline"]
    parts = []
    for tick in _ticks(shown.low, high):
        parts += [line(LEFT, down(tick), WIDTH - EDGE, down(tick), grid)]
        parts += [words(LEFT - 8, down(tick) + 5, f"{tick:g}", quiet, "end")]
    tens = range(math.ceil(shown.left), math.floor(shown.right) + 1)
    for at in [10.0**power for power in tens] if shown.log_x else _ticks(shown.left, shown.right):
        parts += [line(across(at), EDGE, across(at), HEIGHT - FOOT, grid)]
        parts += [words(across(at), HEIGHT - FOOT + 18, f"{at:g}", quiet)]
    if guessing is not None:
        parts += [line(LEFT, down(guessing), WIDTH - EDGE, down(guessing), quiet, 'stroke-dasharray="8 7"')]
        parts += [words(WIDTH - EDGE - 4, down(guessing) - 6, f"guessing {guessing:.3f}", quiet, "end")]
    path = " ".join(f"{across(point.value):.1f},{down(point.loss):.1f}" for point in shown.inside)
    parts += [f'<polyline points="{path}" fill="none" stroke="{quiet}" stroke-width="2"/>']
    shade = dict(zip((point.value for point in points), colours, strict=False))
    for point in shown.inside:
        colour = shade.get(point.value, TRAIN)
        ring = f'stroke="{ground["good"]}" stroke-width="3"' if point is shown.best else ""
        size = 8 if point is shown.best else 5.5
        place = f'cx="{across(point.value):.1f}" cy="{down(point.loss):.1f}" r="{size}"'
        parts += [f'<circle {place} fill="{twins.get(colour, colour)}" {ring}/>']
    cross = 'font-size="20" font-weight="bold"'
    parts += [words(across(point.value), down(shown.top) + 7, "×", ground["error"], more=cross) for point in shown.out]
    if shown.best is not None:
        parts += [words(across(shown.best.value), down(shown.best.loss) + 27, _named(shown.best), ground["text"])]
    parts += [words((WIDTH + LEFT) / 2, HEIGHT - 6, x_title, quiet)]
    middle = (HEIGHT - FOOT) / 2
    parts += [words(16, middle, y_title, quiet, more=f'transform="rotate(-90 16 {middle:.0f})"')]
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="{FIGURE_FONT}">{"".join(parts)}</svg>'
    )
    label = f"{y_title} against {x_title}, forming"
    return f'<img alt="{label}" style="width: 100%" src="data:image/svg+xml,{quote(svg)}">'


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between `low` and `high`, four to ten of them."""
    step = 10.0 ** math.floor(math.log10(high - low))
    step = next(step * part for part in (1, 0.5, 0.2, 0.1) if (high - low) / (step * part) >= 4)
    return [round(place * step, 10) for place in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _named(point: Point) -> str:
    return f"{format_setting(point.value)}: {point.loss:.3f}"


def _draw_line(figure: go.Figure, height: float, words: str) -> None:
    figure.add_hline(
        y=height,
        line={"color": BASELINE, "dash": "dash", "width": 1.5},
        annotation={"text": words, "font": {"color": BASELINE, "size": FIGURE_FONT}},
        annotation_position="top right",
    )


def _told(point: Point) -> str:
    return f"diverged at step {point.diverged_at:,}" if point.diverged_at else f"{point.loss:.4g}"
