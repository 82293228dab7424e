"""The charts of a run: which channels they draw and how, as plain `go.Figure`s.

Pure: knows no streamlit, no engine and no run, only the facts in `RunInfo`. The figures carry no data. The
board in the browser feeds them from the socket, so that a new chart is a new function here and nothing else.

A trace says in `meta` what feeds it:

- `channel`: the name of the scalar channel that it draws ("train/loss").
- `only`: "lowest" draws the lowest point of the channel alone.
- `smooth`: draw the moving average instead of the values; the panel then has a smoothing slider.
- `run`: "previous" draws the run before this one (the ghost), until somebody dismisses it.
- `group`: traces of one group share one entry in the legend, a strip from the first colour to the last.
- `views`: for a heatmap, a list of {"name", "channel", "scale", "rows"}: scale is "signed" (centred on 0) or
  "probability" (0 to 1), rows is "softmax" where each row is turned into probabilities first.

A layout says in `meta`:

- `above`: the channel that the axis above the chart counts, at the steps of the axis below.
- `events`: True marks every event with a vertical line; "text" also writes what happened.
- `tokens`: the axes of a table that count tokens ("y" or "xy"); the board labels them.

Colours are those of the dark stage. The board replaces each by its twin when the page is light.
"""

from __future__ import annotations

import html
import json
import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import plotly.graph_objects as go

Area = Literal["main", "left", "right", "side", "foot"]
Kind = Literal["plot", "samples", "plane", "scatter", "lane-table", "lane-samples"]

TRAIN = "#56B4E9"
VALIDATION = "#E69F00"
BASELINE = "#8FA1B3"
HEALTHY = "rgba(0,158,115,0.15)"
HEALTHY_TEXT = "#3FBF9B"
PANEL = "#131A22"
# From the input to the output of a network: ordered and readable with any colour vision (a piece of cividis).
LAYERS = ("#6B7FB8", "#7D8BA8", "#8D979B", "#9FA38F", "#B3AF82", "#C8BC72", "#DDCB5C", "#F3DA3F")
BAND = (3e-4, 3e-3)
FIGURE_FONT = 14
RECORDED = "recorded"  # the model of a run that was recorded from somebody's own loop: not known
OWN_UNIT = "in the run's own unit"
LOSS_UNITS = {"line": "squared units of y", "logistic": "nats per output"}
KNOWN = ("samples", "train/loss", "val/loss", "grad_norm", "lr", "step_time", "tokens_seen", "epoch")
TABLES = "table/"
MOST_CELLS = 96  # a larger table comes with its neighbours averaged


class Baselines(Protocol):
    """What a loss can be compared with, nats per token."""

    @property
    def uniform(self) -> float: ...
    @property
    def unigram(self) -> float: ...
    @property
    def bigram(self) -> float: ...


class RunInfo(Protocol):
    """The facts about a run that its charts depend on."""

    @property
    def run(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def tokens(self) -> tuple[str, ...]: ...
    @property
    def baselines(self) -> Baselines | None: ...
    @property
    def layers(self) -> tuple[str, ...]: ...
    @property
    def epochs(self) -> int | None: ...
    @property
    def points(self) -> tuple[tuple[float, float], ...]: ...
    @property
    def former(self) -> str | None: ...
    @property
    def channels(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Panel:
    """One place on the stage: a figure or the samples, with a title and two sentences of help.

    `area` is where it goes: "main" (wide, on top), "left" and "right" (below it), "side" and "foot" (the
    column beside them). A second panel of an area stacks below the stage.
    """

    key: str
    title: str
    help: str
    area: Area
    kind: Kind = "plot"
    figure: go.Figure | None = None

    def as_json(self) -> dict[str, Any]:
        """What `/panels` sends of it: plain JSON values."""
        figure = json.loads(self.figure.to_json()) if self.figure is not None else None
        return {
            "key": self.key,
            "title": self.title,
            "help": self.help,
            "area": self.area,
            "kind": self.kind,
            "figure": figure,
        }


def panels(info: RunInfo) -> list[Panel]:
    """The panels of the Train page for one run, in reading order."""
    if info.model == RECORDED:
        return _recorded(info)
    if info.model in LOSS_UNITS:
        table = [_small_table()] if info.model == "logistic" else []
        return [_small_loss(info), *table, _grad_norm(info), _update_ratio(info)]
    return [_loss(info), _table(info), _grad_norm(info), _update_ratio(info), _samples(info)]


def _recorded(info: RunInfo) -> list[Panel]:
    """What a recorded run has told: its losses, gradient norm, tables, samples, and each other number by its name."""
    figure = _step_chart(f"loss, {OWN_UNIT}", events="text")
    _raw_and_smooth(figure, "train/loss", "train")
    _validation(figure)
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
    norm = [_grad_norm(info)] if "grad_norm" in info.channels else []
    own = [name for name in info.channels if name not in KNOWN and not name.startswith(("grad_norm/", TABLES))]
    tables = [
        {"name": n.removeprefix(TABLES), "channel": n, "scale": "signed"} for n in info.channels if n.startswith(TABLES)
    ]
    panels = [loss, *norm, *(_own_channel(name, ("right", "left")[place % 2]) for place, name in enumerate(own))]
    if tables:
        panels.insert(1, _own_tables(tables))
    return [*panels, _samples(info)] if "samples" in info.channels else panels


def _own_channel(name: str, area: Area) -> Panel:
    figure = _step_chart(html.escape(name, quote=False))
    _raw_and_smooth(figure, name, name)
    return Panel(
        key=f"own/{name}",
        title=name,
        help="A number that the recorded loop tells under this name. What is healthy for it, its author knows.",
        area=area,
        figure=figure,
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
        figure=_heatmap(views, "column", "row"),
    )


def _small_loss(info: RunInfo) -> Panel:
    figure = _step_chart(f"loss, {LOSS_UNITS[info.model]}", events="text")
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


def _small_table() -> Panel:
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
        figure=_heatmap(views, "output", "input"),
    )


def _loss(info: RunInfo) -> Panel:
    figure = _step_chart("loss, nats per token", events="text")
    figure.add_scatter(
        name="previous run",
        mode="lines",
        line={"color": BASELINE, "width": 2},
        opacity=0.6,
        meta={"channel": "train/loss", "smooth": True, "run": "previous"},
    )
    _raw_and_smooth(figure, "train/loss", "train")
    _validation(figure)
    if info.former is not None:
        figure.add_scatter(
            name="text before",
            mode="lines+markers",
            line={"color": VALIDATION, "width": 2, "dash": "dot"},
            marker={"color": VALIDATION, "size": 7, "maxdisplayed": 60, "symbol": "diamond-open"},
            meta={"channel": "val/former_loss"},
        )
    if info.epochs is not None:
        _by_epochs(figure)
    for value, text, position in ladder(info.baselines, info.tokens, info.model):
        figure.add_hline(
            y=value,
            line={"color": BASELINE, "dash": "dash", "width": 1.5},
            annotation={
                "text": text,
                "font": {"color": BASELINE, "size": FIGURE_FONT},
                "borderpad": 1,
            },
            annotation_position=position,
        )
    before = "" if info.former is None else f" Open diamonds are {info.former}, learnt before: a rise is forgetting."
    return Panel(
        key="loss",
        title="Loss",
        help=(
            "How much the true next token surprises the model, on average over one batch: lower is better, and each "
            "faint point is another batch, so it scatters. Healthy is a fast fall that flattens, with validation "
            "close to training; validation that rises while training falls, past the star at its lowest, is memorizing."
            + before
        ),
        area="main",
        figure=figure,
    )


def _validation(figure: go.Figure) -> None:
    """The validation losses, and a star at the lowest."""
    figure.add_scatter(
        name="validation",
        mode="lines+markers",
        line={"color": VALIDATION, "width": 2},
        marker={"color": VALIDATION, "size": 7, "maxdisplayed": 60},
        meta={"channel": "val/loss"},
    )
    figure.add_scatter(
        name="its lowest",
        mode="markers",
        marker={"color": VALIDATION, "size": 15, "symbol": "star", "line": {"color": PANEL, "width": 1}},
        meta={"channel": "val/loss", "only": "lowest"},
    )


def _by_epochs(figure: go.Figure) -> None:
    """What a run by epochs has besides: the training loss as it is evaluated, and a second axis of tokens seen."""
    figure.add_scatter(
        name="train, evaluated",
        mode="lines+markers",
        line={"color": TRAIN, "width": 2, "dash": "dot"},
        marker={"color": TRAIN, "size": 7, "maxdisplayed": 60, "symbol": "diamond"},
        meta={"channel": "eval/train_loss"},
    )
    figure.add_scatter(x=[None], y=[None], xaxis="x2", showlegend=False, hoverinfo="skip", meta={})
    figure.update_layout(
        meta={"events": "text", "above": "tokens_seen"},
        margin={"t": 46},
        xaxis2={
            "title": {"text": "tokens seen"},
            "overlaying": "x",
            "matches": "x",
            "side": "top",
            "showgrid": False,
            "zeroline": False,
        },
    )


def ladder(base: Baselines | None, tokens: tuple[str, ...], model: str) -> list[tuple[float, str, str]]:
    """The dashed lines: value, label, and on which side of the line the label sits."""
    if base is None:
        return []
    # A bigram stays above its floor and a GPT goes below it: the label keeps out of the way of the curve.
    kind = "letter" if all(len(token) == 1 for token in tokens) else "token"
    free_side = "bottom right" if model == "bigram" else "top right"
    return [
        (base.uniform, f"guessing: ln {len(tokens):,} = {base.uniform:.3f}", "top right"),
        (base.unigram, f"knows {kind} frequencies {base.unigram:.3f}", "top right"),
        (base.bigram, f"floor for any bigram (training text) {base.bigram:.3f}", free_side),
    ]


def _grad_norm(info: RunInfo) -> Panel:
    figure = _step_chart("‖g‖" if info.model == RECORDED else "‖g‖, nats per unit", log=True)
    _layer_lines(figure, info, "grad_norm")
    _raw_and_smooth(figure, "grad_norm", "all")
    healthy = (
        "a course without leaps, with some scatter: a small GPT's may climb all the while that its loss falls, at a "
        "small learning rate more than at a large one"
        if info.model == "gpt"
        else "a level that settles, with some scatter"
    )
    return Panel(
        key="grad_norm",
        title="Gradient norm",
        help=(
            "The length of the gradient before clipping: how steeply this batch says the loss would change. Healthy "
            f"is {healthy}; a jump to ten times the level, or a climb while the loss climbs too, points to a learning "
            f"rate that is too high.{_layer_note(info)}"
        ),
        area="left",
        figure=figure,
    )


def _update_ratio(info: RunInfo) -> Panel:
    figure = _step_chart("‖Δw‖ ÷ ‖w‖, ratio", log=True)
    if info.model == "gpt":
        figure.add_hrect(
            *BAND,
            fillcolor=HEALTHY,
            line_width=0,
            layer="below",
            annotation={"text": "rule of thumb: 10⁻³", "font": {"color": HEALTHY_TEXT, "size": FIGURE_FONT}},
            annotation_position="top right",
        )
        healthy = (
            "A rule of thumb for deep networks says about 10⁻³ (the band); far above, steps undo each other, far "
            "below, hardly anything is learnt. A small GPT that is to learn within minutes lies several times above it "
            "and is healthy: at a tenth of its learning rate it comes into the band, and needs more steps for the same "
            "loss."
        )
    else:
        healthy = (
            "Healthy is a smooth line; no band is drawn here, since the rule of thumb of 10⁻³ is about deep networks "
            "and this model is a single table."
        )
    _layer_lines(figure, info, "update_ratio")
    figure.add_scatter(
        name="all",
        mode="lines",
        line={"color": TRAIN, "width": 3},
        meta={"channel": "update_ratio"},
    )
    return Panel(
        key="update_ratio",
        title="Update : weight",
        help=(
            "How far one update moved the weights, compared with their size: ‖Δw‖ ÷ ‖w‖, as measured. "
            f"{healthy}{_layer_note(info)}"
        ),
        area="right",
        figure=figure,
    )


def _table(info: RunInfo) -> Panel:
    views = [
        {"name": "weights", "channel": "weights/token_embedding", "scale": "signed"},
        {"name": "gradient", "channel": "gradients/token_embedding", "scale": "signed"},
    ]
    if info.model == "bigram" and len(info.tokens) <= MOST_CELLS:  # a pooled row is no row of the model's
        views.append({"name": "prob", "channel": "weights/token_embedding", "scale": "probability", "rows": "softmax"})
        columns, axes = "next token", "xy"
        text = (
            "A row is the current token, a column the token that may follow, a cell the score (logit) of that pair; "
            "softmax turns a row into probabilities that sum to 1. Healthy: noise at first, then a pattern, soonest "
            "in the rows of frequent tokens, which get a gradient in almost every batch."
        )
    else:
        columns, axes = "dimension", "y"
        text = (
            "A row is the vector of one token, a column one of its dimensions; no single cell means anything by "
            "itself. Healthy: values stay in a range, and tokens that are used alike slowly get similar rows."
        )
    figure = _heatmap(views, columns, "token", tokens=axes)
    if any(len(token) > 1 for token in info.tokens):
        figure.update_layout(margin={"l": 92})  # room for tokens of several characters
    return Panel(key="table", title="Embedding", help=text, area="side", figure=figure)


def _heatmap(views: list[dict[str, str]], columns: str, rows: str, tokens: str = "") -> go.Figure:
    """An empty table; `views` and `tokens` are told to the board (above), `columns` and `rows` name the axes."""
    figure = go.Figure(go.Heatmap(zsmooth=False, meta={"views": views}))
    figure.update_layout(
        template=None,
        meta={"tokens": tokens},
        margin={"l": 48, "r": 8, "t": 6, "b": 46},
        xaxis={"title": {"text": columns}, "ticks": "", "showgrid": False, "zeroline": False},
        yaxis={
            "title": {"text": rows},
            "autorange": "reversed",
            "ticks": "",
            "showgrid": False,
            "zeroline": False,
        },
    )
    return figure


def _samples(info: RunInfo) -> Panel:
    limit = " A bigram sees one character at a time, so it finds pairs, hardly words." if info.model == "bigram" else ""
    return Panel(
        key="samples",
        title="Samples",
        help=(
            "Text that the model writes, one token after another, newest on top; the stronger the shade, the likelier "
            f"the character was when it was drawn. Healthy: first noise, then shapes of words and lines.{limit}"
        ),
        area="foot",
        kind="samples",
    )


def _step_chart(y_title: str, *, log: bool = False, events: bool | str = True) -> go.Figure:
    """An empty chart over steps; `y_title` names quantity and unit."""
    figure = go.Figure()
    figure.update_layout(
        template=None,
        meta={"events": events},
        showlegend=False,
        hovermode="x unified",
        margin={"l": 66, "r": 14, "t": 8, "b": 46},
        xaxis={"title": {"text": "step"}, "rangemode": "tozero", "separatethousands": True, "exponentformat": "none"},
        yaxis={
            "title": {"text": y_title},
            "type": "log" if log else "linear",
            "tickformat": ",.5~g",
            "automargin": "left",
        },
    )
    return figure


def _raw_and_smooth(figure: go.Figure, channel: str, name: str) -> None:
    """The faint values of every batch, and the bold average over them."""
    figure.add_scatter(
        name="each batch",
        mode="lines",
        line={"color": TRAIN, "width": 1},
        opacity=0.35,
        showlegend=False,
        meta={"channel": channel},
    )
    figure.add_scatter(
        name=name, mode="lines", line={"color": TRAIN, "width": 3}, meta={"channel": channel, "smooth": True}
    )


def _layer_note(info: RunInfo) -> str:
    return (
        " Thin lines are single layers, from the input (blue) to the output (yellow)." if len(info.layers) > 1 else ""
    )


def _layer_lines(figure: go.Figure, info: RunInfo, channel: str) -> None:
    """One thin line per layer, from input to output; a model of one layer has the global line alone."""
    if len(info.layers) < 2:
        return
    for index, layer in enumerate(info.layers):
        shade = LAYERS[math.floor(index * (len(LAYERS) - 1) / (len(info.layers) - 1))]
        figure.add_scatter(
            name=layer,
            mode="lines",
            line={"color": shade, "width": 1.5},
            meta={"channel": f"{channel}/{layer}", "group": "layers"},
        )
