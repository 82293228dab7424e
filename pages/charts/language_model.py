"""The panels of a model of text: loss, gradient norm, update ratio, samples."""

from __future__ import annotations

import plotly.graph_objects as go

from engine.text.baselines import Baselines
from pages.charts.live_figures import (
    add_layers,
    add_raw_and_smoothed,
    add_validation,
    layer_note,
    step_chart,
)
from pages.charts.palette import BASELINE, FIGURE_FONT, GOOD, HEALTHY, TRAIN, VALIDATION
from pages.charts.panel import Panel, RunInfo

BAND = (3e-4, 3e-3)


def loss(info: RunInfo) -> Panel:
    """Losses of training and validation, with the baselines of the text as dashed lines."""
    figure = step_chart("loss, nats per token", events="text")
    figure.add_scatter(
        name="previous run",
        mode="lines",
        line={"color": BASELINE, "width": 2},
        opacity=0.6,
        meta={"channel": "train/loss", "smooth": True, "run": "previous"},
    )
    add_raw_and_smoothed(figure, "train/loss", "train")
    add_validation(figure)
    if info.former is not None:
        figure.add_scatter(
            name="text before",
            mode="lines+markers",
            line={"color": VALIDATION, "width": 2, "dash": "dot"},
            marker={"color": VALIDATION, "size": 7, "maxdisplayed": 60, "symbol": "diamond-open"},
            meta={"channel": "val/former_loss"},
        )
    if info.epochs is not None:
        _add_epochs(figure)
    for value, text, position in ladder(info.baselines, info.tokens, above_floor=info.has("pairs")):
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


def _add_epochs(figure: go.Figure) -> None:
    """Add what a run by epochs also has: the evaluated training loss, and a second axis that counts tokens."""
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


def ladder(base: Baselines | None, tokens: tuple[str, ...], above_floor: bool) -> list[tuple[float, str, str]]:
    """The dashed lines: value, label, and on which side of the line the label sits."""
    if base is None:
        return []
    # A bigram stays above its floor and a GPT goes below it: the label keeps out of the way of the curve.
    kind = "letter" if all(len(token) == 1 for token in tokens) else "token"
    free_side = "bottom right" if above_floor else "top right"
    return [
        (base.uniform, f"guessing: ln {len(tokens):,} = {base.uniform:.3f}", "top right"),
        (base.unigram, f"knows {kind} frequencies {base.unigram:.3f}", "top right"),
        (base.bigram, f"floor for any bigram (training text) {base.bigram:.3f}", free_side),
    ]


def gradient_norm(info: RunInfo) -> Panel:
    """The norm of the gradient before clipping, in all and by layer."""
    figure = step_chart("‖g‖" if info.model is None else "‖g‖, nats per unit", log=True)
    add_layers(figure, info, "grad_norm")
    add_raw_and_smoothed(figure, "grad_norm", "all")
    healthy = (
        "a course without leaps, with some scatter: a small GPT's may climb all the while that its loss falls, at a "
        "small learning rate more than at a large one"
        if info.has("blocks")
        else "a level that settles, with some scatter"
    )
    return Panel(
        key="grad_norm",
        title="Gradient norm",
        help=(
            "The length of the gradient before clipping: how steeply this batch says the loss would change. Healthy "
            f"is {healthy}; a jump to ten times the level, or a climb while the loss climbs too, points to a learning "
            f"rate that is too high.{layer_note(info)}"
        ),
        area="left",
        figure=figure,
    )


def update_ratio(info: RunInfo) -> Panel:
    """How far one update moved the weights, in all and by layer."""
    figure = step_chart("‖Δw‖ ÷ ‖w‖, ratio", log=True)
    if info.has("blocks"):
        figure.add_hrect(
            *BAND,
            fillcolor=HEALTHY,
            line_width=0,
            layer="below",
            annotation={"text": "rule of thumb: 10⁻³", "font": {"color": GOOD, "size": FIGURE_FONT}},
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
    add_layers(figure, info, "update_ratio")
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
            f"{healthy}{layer_note(info)}"
        ),
        area="right",
        figure=figure,
    )


def samples(info: RunInfo) -> Panel:
    """What the model writes."""
    limit = " A bigram sees one character at a time, so it finds pairs, hardly words." if info.has("pairs") else ""
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
