"""The panels of a run that was recorded from somebody's own loop: a chart for each number that it reports."""

from __future__ import annotations

import html

from pages.charts.language_model import gradient_norm
from pages.charts.live_figures import add_raw_and_smoothed, add_validation, live_heatmap, step_chart
from pages.charts.panel import OWN_UNIT, Panel, RunInfo

KNOWN = ("samples", "train/loss", "val/loss", "grad_norm", "lr", "step_time", "tokens_seen", "epoch")
TABLES = "table/"


def recorded_panels(info: RunInfo) -> list[Panel]:
    """Losses, gradient norm, tables, samples, and every other number that was logged, under its own name."""
    figure = step_chart(f"loss, {OWN_UNIT}", events="text")
    add_raw_and_smoothed(figure, "train/loss", "train")
    if "val/loss" in info.channels:
        add_validation(figure)
    loss = Panel(
        key="loss",
        title="Loss",
        help=(
            "What the recorded loop says of its loss: faint is each value, bold their moving average. Healthy is a "
            "fall that flattens, with validation, where it is told, close to training."
        ),
        area="main",
        figure=figure,
    )
    norm = [gradient_norm(info)] if "grad_norm" in info.channels else []
    own = [name for name in info.channels if name not in KNOWN and not name.startswith(("grad_norm/", TABLES))]
    tables = [
        {"name": n.removeprefix(TABLES), "channel": n, "scale": "signed"} for n in info.channels if n.startswith(TABLES)
    ]
    panels = [loss, *norm, *(_own_channel(name) for name in own)]
    if tables:
        panels.insert(1, _own_tables(tables))
    return [*panels, _own_samples()] if "samples" in info.channels else panels


def _own_channel(name: str) -> Panel:
    figure = step_chart(html.escape(name, quote=False))
    add_raw_and_smoothed(figure, name, name)
    return Panel(
        key=f"own/{name}",
        title=name,
        help="A number that the recorded loop tells under this name. What is healthy for it, its author knows.",
        area="left",
        figure=figure,
    )


def _own_samples() -> Panel:
    return Panel(
        key="samples",
        title="Samples",
        help=(
            "Texts that the recorded loop tells, newest on top, without how likely each character was. Healthy: they "
            "come to look like what it learns from."
        ),
        area="foot",
        kind="samples",
        shaded=False,
    )


def _own_tables(views: list[dict[str, str]]) -> Panel:
    return Panel(
        key="table",
        title="Tables",
        help=(
            "Tables that the recorded loop tells, the newest of each; a side of more than 96 comes with its "
            "neighbours averaged. Colours are centred on 0."
        ),
        area="side",
        figure=live_heatmap(views, "column", "row"),
    )
