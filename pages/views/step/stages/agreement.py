"""An update beside the gradient of its batch: which way the weights went and how far, now and over the training."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st
import torch

from engine.lessons.results import percent
from engine.runs.manager import run_manager
from engine.training import probes
from engine.training.checkpoint import PausedState
from engine.training.state import replay
from engine.training.trainer import STAGES
from pages.charts.palette import EVENT, TRAIN, VALIDATION
from pages.charts.static import heading, plane, show
from pages.views.shared.inspected_step import InspectedStep
from pages.views.step.stages.shared import cached, document_note, gradient_of, number_table, short

FOLLOWING = 100
MOST_WORK = 10**9  # parameters times tokens, for all following steps
FEW = 30  # points, which a line alone would hide
AGAINST, PER_LR = "update_against_gradient", "update_per_lr"


def measured(shown: InspectedStep) -> dict[str, float]:
    """What the probe finds of this update; empty where no weight has a gradient."""
    parts = shown.model.layers()
    named = {id(parameter): name for name, parameter in shown.parameters.items()}
    before = {part: [shown.before[named[id(p)]] for p in group] for part, group in parts.items()}
    return probes.update_agreement(before, parts, shown.trainer.rate)


def against_or_along(shown: InspectedStep) -> str:
    """Which way the weights with a gradient went in this update, in one sentence."""
    found = measured(shown)
    if not found:
        return "No weight has a gradient in this step."
    share = found[AGAINST]
    told = f"Of the weights with a gradient {percent(share)} moved against their slope in this update"
    if shown.config.optimizer == "sgd":
        return f"{told}: SGD takes the slope of this batch alone."
    if shown.number == 1 and shown.config.optimizer == "adamw":
        return f"{told}: at its first AdamW knows this batch alone."
    rule = (
        "Muon turns a mean of many batches"
        if shown.config.optimizer == "muon"
        else "AdamW follows the mean of many batches"
    )
    return f"{told}, the others along it or not at all: {rule}."


def agreement_view(shown: InspectedStep) -> None:
    """This update's agreement with its batch as a table, and that of the training so far as curves."""
    found = measured(shown)
    if not found:
        return
    one, other = st.columns([1, 1])
    with one:
        heading(
            "The update beside this batch's gradient",
            "All weights that have a gradient in this batch. Minus the gradient is the direction in which this batch's "
            "loss falls fastest; a cosine of 1 says that the update goes exactly there, 0 that it goes across.",
        )
        number_table(
            [
                ("moved against their slope", percent(found[AGAINST], 1)),
                ("|Δw| ÷ learning rate, the middle weight", f"{found[PER_LR]:.4f}"),
                ("cosine of Δw and −gradient", short(cosine(shown))),
            ],
            (f"update {shown.number:,}", "value"),
        )
        document_note(
            "document 000",
            "Each weight is adjusted in the opposite direction of its gradient; a large gradient moves it more.",
            against_or_along(shown)
            + (
                ""
                if shown.config.optimizer == "sgd"
                else " How far a weight goes depends on how well batches agree, hardly on the size of the slope: the "
                "mean of its slopes is divided by their size."
            ),
        )
    with other:
        show(
            over_training(shown, found),
            "step_agreement",
            "The same over the training" if shown.copy.source.run else "The same over the next steps",
            "Blue: the share of weights that moved against their slope in the batch of that step. Orange: how far the "
            "middle one moved, in learning rates. AdamW begins at 1 and 1; both fall as far as batches disagree.",
            height=330,
        )


def cosine(shown: InspectedStep) -> float:
    """The cosine of Δw and minus the gradient, over all weights."""
    moved, slopes = [], []
    for name, parameter in shown.parameters.items():
        moved.append((parameter.detach() - shown.before[name]).flatten())
        slopes.append(-gradient_of(shown, name).flatten())
    return float(torch.cosine_similarity(torch.cat(moved).double(), torch.cat(slopes).double(), dim=0))


def over_training(shown: InspectedStep, now: dict[str, float]) -> go.Figure:
    """Both numbers over the steps of the run, or over the next ones where there is none; and those of this update."""
    figure = plane("step", "share of 1")
    for channel, name, colour in (
        (AGAINST, "share that moved against the slope", TRAIN),
        (PER_LR, "middle |Δw| ÷ learning rate", VALIDATION),
    ):
        steps, values = curve(shown, channel)
        figure.add_scatter(
            x=steps,
            y=values,
            mode="lines+markers" if len(steps) < FEW else "lines",
            line={"color": colour, "width": 2.5},
            name=name,
        )
        figure.add_scatter(
            x=[shown.number],
            y=[now[channel]],
            mode="markers",
            marker={"color": EVENT, "size": 10},
            name="this update",
            showlegend=channel == AGAINST,
        )
    figure.update_yaxes(rangemode="tozero")
    return figure


def curve(shown: InspectedStep, channel: str) -> tuple[list[float], list[float]]:
    """Steps and values of a channel as the run observed it up to now; of the next steps where there is no run."""
    run = shown.copy.source.run
    if run is None:
        found = cached(shown, "following updates", lambda: following(shown))
        return list(found), [one[channel] for one in found.values()]
    run_manager().pump.drain()  # the last step may still be on its way
    points = run.history.points_between(channel, 0, shown.number)
    return ([], []) if points is None else (points[0].tolist(), points[1].tolist())


def following(shown: InspectedStep) -> dict[float, dict[str, float]]:
    """What the probe finds of this update and the next ones, by step, on a throwaway copy; few of a large model."""
    trainer = replay(shown.config, shown.dataset, PausedState(shown.moment.snapshot, 0))
    trainer.unwatched = True
    parts, found = trainer.model.layers(), {}
    work = trainer.model.parameter_count() * max(1, shown.trainer.inputs.numel())
    for _ in range(min(FOLLOWING, MOST_WORK // work)):
        before = probes.weight_copies(parts)
        for _ in range(STAGES.index("update") + 1):
            trainer.stage()
        found[float(trainer.step)] = probes.update_agreement(before, parts, trainer.rate)
        trainer.advance()  # the rest of the step
        if trainer.recorder.diverged:
            break
    return {step: one for step, one in found.items() if one}
