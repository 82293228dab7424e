"""The forward stage: the look-up, the scores, the probabilities, and how likely the right token was at each place."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.analysis.loss_by_position import target_probabilities
from engine.models.base import LanguageModel
from pages.charts.palette import BASELINE, GOOD, TRAIN
from pages.charts.static import heading, heatmap, literal, plane, show
from pages.charts.token_axes import name_axis, places
from pages.views.shared.inspected_step import InspectedStep
from pages.views.step.stages.shared import (
    digits,
    document_note,
    fewer_ticks,
    number_table,
    position_picker,
    short,
)

MOST_BARS = 100
TEXT_CELLS = 300


def forward_view(shown: InspectedStep) -> None:
    """What the model says about the batch."""
    if not isinstance(shown.model, LanguageModel):
        small_forward(shown)
        return
    row, position = position_picker(shown)
    inputs, targets = shown.trainer.inputs, shown.trainer.targets
    logits = shown.trainer.logits.detach()
    if "embedding" in shown.model.features:
        lookup(shown, shown.model, int(inputs[row, position]), logits[row, position])
    scores = logits[row, position]
    right = int(targets[row, position])
    probabilities = F.softmax(scores, -1)
    one, other = st.columns(2)
    with one:
        show(
            bars(shown, scores, right, "score (logit)"),
            "step_scores",
            "Scores for the next token",
            "A bar is the score of one token as the next one, the green one is the right token. Scores have no unit, "
            "no bound and may be negative; only their differences matter.",
            height=260,
        )
    with other:
        show(
            bars(shown, probabilities, right, "probability"),
            "step_probabilities",
            "The same, after softmax",
            "Each bar is exp(score), divided by the sum of them all. Untrained, the right token's bar is one among "
            "many; a trained model gives it a large share, never all.",
            height=260,
        )
    moved = (F.softmax(scores + 5, -1) - probabilities).abs().max()
    document_note(
        "document 003",
        "The logits are the predicted probabilities.",
        f"Here the {len(scores):,} scores lie between {short(float(scores.min()))} and {short(float(scores.max()))} "
        f"and sum to {short(float(scores.sum()))}. After softmax the sum is {float(probabilities.sum()):.6f}. "
        f"With 5 added to every score no probability moves by more than {float(moved):.1e}.",
    )
    show(
        right_figure(shown, target_probabilities(logits, targets)),
        "step_chances",
        "Probability of the right token, at every place of the batch",
        "Bright is where the model expected what came. A row is a window, a column a place in it; at the start "
        "everything is dark, and a GPT grows brighter towards the right, where it has more to go by.",
        height=max(300, min(640, 60 + 18 * len(inputs))),
    )


def lookup(shown: InspectedStep, model: LanguageModel, token: int, scores: Tensor) -> None:
    """One token's row of the embedding; looking it up equals a product with a one-hot vector."""
    table = model.token_embedding.weight.detach()
    row = table[token]
    one_hot = F.one_hot(torch.tensor(token), len(table)).float()
    heading(
        "The look-up",
        "A token's id picks one row of the table, nothing is computed. In a bigram that row is the answer; in a GPT it "
        "is the vector that the blocks work on.",
    )
    start = ", ".join(f"{value:.4f}" for value in row[:6].tolist())
    after = (
        f"torch.equal(logits[row, t], token_embedding.weight[{token}])  # {torch.equal(scores, row)}: it is the answer"
        if "pairs" in model.features
        else f"# + position_embedding.weight[t], the blocks, the last norm, the head: ({len(row)},) -> ({len(scores)},)"
    )
    st.code(
        f"id = {token}  # the token {shown.labels[token]}\n"
        f"token_embedding.weight[{token}]  # shape ({len(row)},): {start}, …\n"
        f"torch.equal(one_hot @ token_embedding.weight, token_embedding.weight[{token}])  # "
        f"{torch.equal(one_hot @ table, row)}\n{after}",
        language="python",
        wrap_lines=True,
    )


def bars(shown: InspectedStep, values: Tensor, right: int, title: str) -> go.Figure:
    """A bar for each token; of a large vocabulary only the highest, and always the right one."""
    order = torch.arange(len(values))
    if len(values) > MOST_BARS:
        order = torch.tensor(sorted({*values.topk(MOST_BARS - 1).indices.tolist(), right}))
    ids = order.tolist()
    names = [literal(shown.labels[i]) for i in ids]
    figure = plane("next token", title)
    figure.add_bar(
        x=places(names),
        y=values[order].tolist(),
        marker={"color": [GOOD if i == right else TRAIN for i in ids], "line": {"width": 0}},
        customdata=names,
        hovertemplate="%{customdata}: %{y:.4~g}<extra></extra>",
    )
    name_axis(figure, names)
    figure.update_layout(bargap=0.15)
    return figure


def right_figure(shown: InspectedStep, cells: Tensor) -> go.Figure:
    """A (B, T) table of probabilities, with the right tokens written in if they fit."""
    targets = shown.trainer.targets
    text = [[literal(shown.labels[i]) for i in ids] for ids in targets.tolist()]
    figure = heatmap(
        cells.numpy(),
        scale="probability",
        text=text if targets.numel() <= TEXT_CELLS else None,
        x_title="position t",
        y_title="window",
    )
    return fewer_ticks(figure)


def small_forward(shown: InspectedStep) -> None:
    """Outputs of the line and of the logistic layer, example by example."""
    inputs, targets = shown.trainer.inputs, shown.trainer.targets
    outputs = shown.trainer.logits.detach()
    heading(
        "Outputs beside what is right",
        "A line is one output of one example. Healthy is that the outputs come nearer to the targets, step by step.",
    )
    if "plane" in shown.model.features:
        a, b = (float(one.detach()) for one in shown.model.scalars().values())
        rows = [
            (
                digits(x),
                f"{short(a)} · {short(x)} + {short(b)}",
                digits(y),
                digits(t),
            )
            for x, y, t in zip(inputs[:, 0].tolist(), outputs[:, 0].tolist(), targets[:, 0].tolist(), strict=True)
        ]
        number_table(rows, ("x", "a · x + b", "output", "target"))
        xs = inputs[:, 0].tolist()
        figure = plane("x", "y")
        figure.add_scatter(
            x=xs, y=targets[:, 0].tolist(), mode="markers", marker={"size": 11, "color": BASELINE}, name="targets"
        )
        figure.add_scatter(x=xs, y=outputs[:, 0].tolist(), mode="lines+markers", line={"color": TRAIN}, name="outputs")
        show(
            figure,
            "step_line",
            "The line through the points",
            "Dots are what is right, the line is what the model says now. The vertical gaps are what the loss squares.",
        )
        return
    rows = [
        (str(k), digits(z), f"{p:.6f}", digits(t))
        for k, (z, p, t) in enumerate(
            zip(outputs[0].tolist(), outputs[0].sigmoid().tolist(), targets[0].tolist(), strict=True)
        )
    ]
    number_table(rows, ("output", "score z", "sigmoid(z)", "target"))
