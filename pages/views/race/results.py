"""The result of a race as a chart: each lane's final loss against its learning rate, with a verdict at each point."""

from __future__ import annotations

import math

import plotly.graph_objects as go
import streamlit as st

from engine.models import registry
from engine.runs.manager import run_manager
from engine.runs.races.race import Race
from engine.runs.races.results import LaneResult, best_lane, lane_results, verdict
from engine.stream.status import State
from pages.charts import static
from pages.charts.palette import BASELINE, ERROR, FIGURE_FONT, TEXT
from pages.charts.panel import unit_of
from pages.charts.race import lane_colours

RATES = (
    "Where each lane ended, the mean loss of its last tenth of steps, against its learning rate; the bar holds eight "
    "in ten of those losses. Healthy is the bottom of the valley: to its left the steps are too short to arrive in "
    "time, to its right each step overshoots and undoes the one before, and the bar grows."
)
OTHERS = (
    "Where each lane ended: the mean loss of its last tenth of steps; the bar holds eight in ten of those losses. "
    "Lower is better; bars that overlap much tell little."
)
EXAMPLE = (
    (3e-4, 4.226, 4.151, 4.305, 0.058, True),
    (1e-2, 2.356, 2.269, 2.454, 0.071, True),
    (1.0, 2.598, 2.483, 2.745, 0.103, False),
    (10.0, 4.105, 3.752, 4.504, 0.317, False),
)
"""Measured on the shipped play: learning rate, loss, its low and high, scatter, whether it still falls."""


def show(race: Race) -> None:
    """The chart, and its numbers in words; a sentence if the race was too short to tell."""
    run_manager().pump.drain()  # the last steps may still be on their way
    found = lane_results(race)
    if len(found) < 2:
        st.text("This race was too short to tell its lanes apart: let it make at least 40 steps.")
        return
    rates = len({one.lr for one in found}) == len(found)
    unit = unit_of(race.config)
    above = "pairs" in registry.find(race.config.model).features
    floor = race.baselines.bigram if above and race.baselines else None
    static.show(
        picture(found, list(race.names), f"loss at the end, {unit}", rates, floor),
        "race_outcome",
        "What the learning rate does" if rates else "Where the lanes ended",
        RATES if rates else OTHERS,
        height=310,
        picture="race",
    )
    st.text(summary(race, found))


def example() -> None:
    """The result of an earlier race, as an example until there is one here."""
    found = [
        LaneResult(f"lr {lr:g}", lr, State.DONE, 2000, 4.839, loss, low, high, scatter, falling)
        for lr, loss, low, high, scatter, falling in EXAMPLE
    ]
    static.show(
        picture(found, [one.name for one in found], "loss at the end, nats per token", True, 2.340),
        "race_example",
        "Example: what a race of 2,000 steps came to",
        RATES,
        height=310,
    )


def picture(
    found: list[LaneResult], names: list[str], y_title: str, rates: bool, floor: float | None = None
) -> go.Figure:
    """Each lane's final loss with an error bar: by learning rate, joined by a line, or side by side."""
    figure = static.plane("learning rate" if rates else "", y_title, log_x=rates)
    best = best_lane(found)
    sound = [one for one in found if one.state not in (State.DIVERGED, State.FAILED)]
    top = max([one.high for one in sound] or [one.first for one in found])
    if floor is not None:
        figure.add_hline(
            y=floor,
            line={"color": BASELINE, "dash": "dash", "width": 1.5},
            annotation={
                "text": f"floor for any bigram {floor:.3f}",
                "font": {"color": BASELINE, "size": FIGURE_FONT},
            },
            annotation_position="bottom right",
        )
    if rates:
        valley = sorted(sound, key=lambda one: one.lr)
        figure.add_scatter(
            x=[one.lr for one in valley],
            y=[one.loss for one in valley],
            mode="lines",
            line={"color": BASELINE, "width": 2},
            hoverinfo="skip",
        )
    ordered = sorted(found, key=lambda one: one.lr)
    lowest = ordered[0].lr if best is None else best.lr
    beside = {one.name: f"top {'right' if one.lr < lowest else 'left'}" for one in ordered if one is not best}
    for one in found:
        out = one not in sound
        figure.add_scatter(
            name=one.name,
            x=[one.lr if rates else one.name],
            y=[top if out else one.loss],
            error_y=None
            if out
            else {
                "array": [one.high - one.loss],
                "arrayminus": [one.loss - one.low],
                "symmetric": False,
                "thickness": 2.5,
                "width": 6,
            },
            mode="markers",
            marker={
                "color": ERROR if out else lane_colours(len(names))[names.index(one.name)],
                "size": 16,
                "symbol": "x" if out else "circle",
            },
            hovertemplate=f"{one.name}<br>" + (one.state.value if out else "%{y:.4g}") + "<extra></extra>",
        )
        figure.add_scatter(
            x=[one.lr if rates else one.name],
            y=[top if out else one.high],
            mode="text",
            text=[verdict(one, best).replace(": ", ":<br>") if rates or out else f"{one.loss:.3f}"],
            textposition=beside.get(one.name, "top center") if rates else "top center",
            textfont={"size": FIGURE_FONT + 1, "color": ERROR if out else TEXT},
            hoverinfo="skip",
        )
    low = min([one.low for one in sound] + ([floor] if floor is not None else [top]))
    room = (top - low) or 1.0
    figure.update_yaxes(range=[low - 0.15 * room, top + 0.35 * room])
    if rates:
        figure.update_xaxes(range=[math.log10(ordered[0].lr) - 0.4, math.log10(ordered[-1].lr) + 0.4], dtick=1)
    return figure.update_layout(showlegend=False)


def summary(race: Race, found: list[LaneResult]) -> str:
    """The numbers of the chart in words."""
    best = best_lane(found)
    ends = ", ".join(
        f"{one.name} at {one.loss:.3f}" for one in found if one.state not in (State.DIVERGED, State.FAILED)
    )
    told = [f"Ended: {ends}."] if ends else []
    if best is not None:
        told.append(f"Lowest: {best.name}.")
    told += [f"{one.name} {one.state.value} at step {one.step + 1:,}." for one in found if one.state is State.DIVERGED]
    first = race.records.first_difference
    told.append(f"The losses part at step {first:,}." if first else "All losses are the same, bit for bit.")
    return " ".join(told)
