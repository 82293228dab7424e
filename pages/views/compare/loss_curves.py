"""The losses of several runs on one chart, and the numbers that recorded ones have of their own."""

from __future__ import annotations

import html
import math
import textwrap
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from engine.storage.curves import By, Curves, Floats
from engine.storage.index import Overview
from engine.stream.downsampling import downsample
from pages.charts import static
from pages.charts.palette import BASELINE, ERROR, EVENT, GOOD, TEXT, TRAIN, VALIDATION
from pages.charts.panel import unit_of

COLOURS = (TRAIN, VALIDATION, GOOD, EVENT, ERROR, BASELINE)
MOST_RUNS = len(COLOURS)
MOST_POINTS = 2000
FEW = 50  # points that are marked, each
AXES: dict[By, str] = {"steps": "step", "tokens": "tokens seen", "seconds": "seconds of training"}
CHOICES: tuple[By, ...] = get_args(By)
FAR = 10  # times the highest first loss: on an axis up to there the other curves would be one flat line
ROOF = 1.2  # times the highest first loss: there the axis ends instead
WINDOWS = (0, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000)
Split = Literal["train", "val"]


@dataclass(frozen=True)
class View:
    """How the curves are drawn: what the x axis counts, the smoothing in steps, which axes are logarithmic."""

    by: By = "steps"
    window: int = 0
    log_x: bool = False
    log_y: bool = False


def usual_window(longest: float) -> int:
    """The default smoothing for a run of `longest` steps: about a hundredth of them."""
    return max((window for window in WINDOWS if window <= longest / 100), default=0)


def losses(drawn: list[tuple[Overview, Curves]], split: Split, view: View) -> go.Figure:
    """The training or the validation losses of these runs, each in its own colour."""
    words = "training" if split == "train" else "validation"
    figure = static.plane(AXES[view.by], f"{words} loss, {unit(drawn)}", log_x=view.log_x, log_y=view.log_y)
    for (shown, curves), colour in zip(drawn, COLOURS, strict=False):
        if split == "val":
            at, values = curves.val_steps, curves.val_loss
            _line(figure, shown, curves.along(view.by, at), values, colour, 2.0, markers=True)
            continue
        bold = smoothed(curves.loss, view.window)
        if view.window:
            at, values = _thinned(curves.steps, curves.loss)
            _line(figure, shown, curves.along(view.by, at), values, colour, 1.0, faint=True)
        at, values = _thinned(curves.steps, bold)
        _line(figure, shown, curves.along(view.by, at), values, colour, 2.5)
        _notes(figure, shown, curves, bold, colour, view)
    if not view.log_y and off_scale(drawn, split):
        low, high = (
            min(np.nanmin(found) for _, found in _with_losses(drawn, split)),
            ROOF * _highest_first_loss(drawn, split),
        )
        figure.update_yaxes(range=[low - 0.05 * (high - low), high])
    return figure


def own_numbers(drawn: list[tuple[Overview, Curves]], name: str, view: View) -> go.Figure:
    """A number that recorded runs told under this name, each run in its own colour."""
    figure = static.plane(AXES[view.by], escape_markup(name), log_x=view.log_x)
    for (shown, curves), colour in zip(drawn, COLOURS, strict=False):
        if name not in curves.own:
            continue
        at, values = _thinned(*curves.own[name])
        _line(figure, shown, curves.along(view.by, at), values, colour, 2.0, markers=len(at) < FEW)
    return figure


def off_scale(drawn: list[tuple[Overview, Curves]], split: Split) -> dict[str, tuple[str, float]]:
    """Runs whose loss would flatten all other curves: (name, highest loss) by run id."""
    highest = {shown.run.id: (shown.label, float(np.nanmax(found))) for shown, found in _with_losses(drawn, split)}
    return {run: told for run, told in highest.items() if told[1] > FAR * _highest_first_loss(drawn, split) > 0}


def _highest_first_loss(drawn: list[tuple[Overview, Curves]], split: Split) -> float:
    return max((float(found[0]) for _, found in _with_losses(drawn, split)), default=0.0)


def _with_losses(drawn: list[tuple[Overview, Curves]], split: Split) -> list[tuple[Overview, Floats]]:
    """The runs that have losses of this split, with these losses."""
    both = [(shown, curves.loss if split == "train" else curves.val_loss) for shown, curves in drawn]
    return [(shown, found) for shown, found in both if len(found)]


def smoothed(values: Floats, window: int) -> Floats:
    """The moving average over about `window` steps (exponential, corrected for its start), as on Train."""
    if not window or not len(values):
        return values
    return np.asarray(pd.Series(values).ewm(alpha=1 - math.exp(-1 / window)).mean(), np.float64)


def unit(drawn: list[tuple[Overview, Curves]]) -> str:
    """The unit of the losses, or a phrase where the runs have different ones."""
    units = {unit_of(shown.run.config) for shown, _ in drawn}
    return units.pop() if len(units) == 1 else "in each run's own unit"


def escape_markup(text: str) -> str:
    """Text for use inside a figure, where < and & would be markup; spaces stay spaces."""
    return html.escape(text, quote=False)


def _thinned(steps: Floats, values: Floats) -> tuple[Floats, Floats]:
    kept, thinner = downsample(steps.astype(np.uint32), values.astype(np.float32), MOST_POINTS)
    return kept.astype(np.float64), thinner.astype(np.float64)


def _line(
    figure: go.Figure,
    shown: Overview,
    x: Floats,
    y: Floats,
    colour: str,
    width: float,
    *,
    faint: bool = False,
    markers: bool = False,
) -> None:
    figure.add_scatter(
        x=x.tolist(),
        y=y.tolist(),
        name=escape_markup(shown.label),
        legendgroup=shown.run.id,
        mode="lines+markers" if markers else "lines",
        line={"color": colour, "width": width},
        marker={"size": 5},
        opacity=0.25 if faint else 1.0,
        showlegend=not faint,
        hoverinfo="skip" if faint else None,
        hovertemplate=None if faint else "%{x:,.4~f}: %{y:.4f}",
        hoverlabel={"namelength": 40},
    )


def _notes(figure: go.Figure, shown: Overview, curves: Curves, bold: Floats, colour: str, view: View) -> None:
    """Notes pinned at a step, as marks on the curve there."""
    pinned = [note for note in shown.notes.notes if note.step is not None]
    if not pinned or not len(curves.steps):
        return
    steps = np.array([note.step for note in pinned], np.float64)
    figure.add_scatter(
        x=curves.along(view.by, steps).tolist(),
        y=np.interp(steps, curves.steps, bold).tolist(),
        name="note",
        legendgroup=shown.run.id,
        showlegend=False,
        mode="markers",
        marker={"symbol": "star", "size": 14, "color": colour, "line": {"width": 1, "color": TEXT}},
        customdata=["<br>".join(map(escape_markup, textwrap.wrap(note.text, 48)[:12])) for note in pinned],
        hovertemplate="%{customdata}<extra></extra>",
    )
