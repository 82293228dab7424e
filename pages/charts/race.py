"""The live panels of a race: the losses of all lanes; of a few lanes the tables of two, and what each one writes.

The lanes' channels are `train/loss/1` …; `train/loss/before` is that of the run they were forked from. One table
holds the rows of all lanes, lane after lane. A layout says in `meta`:

- `lanes`: [{"name", "colour"}] in order, for a panel of kind "lane-table" or "lane-samples".

- `calm`: the heights follow the lanes that stay near where they began, for the panel of their losses.

A view of that table says in `of` which of two chosen lanes it shows: "first", "second" or "difference".
"""

from __future__ import annotations

from dataclasses import replace

import plotly.graph_objects as go

from engine.runs.races.lanes import FEW_LANES
from pages.charts.palette import BASELINE, EVENT, GOOD, LAYERS, TRAIN, VALIDATION
from pages.charts.panel import Panel, RunInfo
from pages.charts.training import training_panels

FEW = (TRAIN, VALIDATION, GOOD, EVENT)
"""A colour for each of FEW_LANES; told apart with any colour vision."""
VIEWS = (("A", "first", "weight"), ("B", "second", "weight"), ("B − A", "difference", "difference of weights"))


def lane_colours(count: int) -> tuple[str, ...]:
    """A colour for each of `count` lanes: more than FEW_LANES have an order, and so have their colours."""
    return FEW if count <= FEW_LANES else LAYERS


def race_panels(info: RunInfo) -> list[Panel]:
    """The panels of the Race page; none before there is a race."""
    if not info.lanes:
        return []
    alone = {panel.key: panel for panel in training_panels(info)}
    found = [_losses(info, alone["loss"])]
    if len(info.lanes) > FEW_LANES:
        return found
    if "table" in alone:
        found.append(_table(info, alone["table"]))
    if "samples" in alone:
        found.append(_samples(info))
    return found


def _losses(info: RunInfo, alone: Panel) -> Panel:
    assert alone.figure is not None
    figure = go.Figure(layout=alone.figure.layout)  # with its axes and the lines to compare with
    figure.update_layout(meta={"events": "text", "calm": True}, yaxis={"type": "log"})
    if info.forked:
        figure.add_scatter(
            name="before the fork",
            mode="lines",
            line={"color": BASELINE, "width": 2},
            meta={"channel": "train/loss/before", "smooth": True},
        )
    for number, (name, colour) in enumerate(zip(info.lanes, lane_colours(len(info.lanes)), strict=False), 1):
        figure.add_scatter(
            name=name,
            mode="lines",
            line={"color": colour, "width": 1},
            opacity=0.25,
            showlegend=False,
            hoverinfo="skip",
            meta={"channel": f"train/loss/{number}"},
        )
    for number, (name, colour) in enumerate(zip(info.lanes, lane_colours(len(info.lanes)), strict=False), 1):
        figure.add_scatter(
            name=name,
            mode="lines",
            line={"color": colour, "width": 3},
            meta={"channel": f"train/loss/{number}", "smooth": True},
        )
    return replace(
        alone,
        help=(
            "One colour a lane: faint is the loss of each batch, bold the average over them; all lanes draw the same "
            "batches in the same order. They lie on each other up to the marked step where the losses part; from there "
            "on, what differs is what was changed. Healthy is a lane that falls and settles; of two that draw the same "
            "batches, the lower one learns more."
        ),
        figure=figure,
    )


def _table(info: RunInfo, alone: Panel) -> Panel:
    assert alone.figure is not None
    figure = go.Figure(alone.figure)
    channel = next(view["channel"] for view in figure.data[0].meta["views"] if view["name"] == "weights")
    views = [{"name": name, "channel": channel, "scale": "signed", "of": of, "bar": bar} for name, of, bar in VIEWS]
    figure.update_traces(meta={"views": views})
    figure.update_layout(meta={**figure.layout.meta, **_lanes(info)})
    return Panel(
        key="table",
        title=alone.title,
        help=(
            "The table of two lanes, A and B, in the same colours, and B less A, all at the same step. At first there "
            "is no difference; healthy is one that grows where the lanes go different ways, and it shows in which rows."
        ),
        area="side",
        kind="lane-table",
        figure=figure,
    )


def _samples(info: RunInfo) -> Panel:
    return Panel(
        key="samples",
        title="Samples",
        help=(
            "What each lane writes, newest on top, from the same prompt and the same random numbers: texts differ only "
            "as far as the models do. Healthy: from noise to shapes of words; a lane that jumps about writes noise."
        ),
        area="foot",
        kind="lane-samples",
        figure=go.Figure(layout={"meta": _lanes(info)}),
    )


def _lanes(info: RunInfo) -> dict[str, list[dict[str, str]]]:
    return {
        "lanes": [
            {"name": name, "colour": colour}
            for name, colour in zip(info.lanes, lane_colours(len(info.lanes)), strict=False)
        ],
    }
