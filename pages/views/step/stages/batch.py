"""Before the step: the settings and parameters; and its first stage: the batch as characters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
import streamlit as st
import torch
from torch import Tensor

from engine.text.corpus import Corpus
from pages.charts.palette import EVENT
from pages.charts.static import heading, heatmap, literal, show
from pages.charts.token_axes import shortened
from pages.views.shared.first_model import first_model
from pages.views.shared.inspected_step import InspectedStep
from pages.views.step.stages.shared import (
    cached,
    digits,
    document_note,
    fewer_ticks,
    number_table,
    position_picker,
    scrollable,
    short,
)

MOST_POSITIONS = 40
MOST_ROWS = 64


def before_view(shown: InspectedStep) -> None:
    """What was chosen before the loop, and the parameters that the optimizer was given."""
    group, settings = shown.trainer.optimizer.param_groups[0], shown.trainer.settings
    heading(
        "What the loop was told",
        "Chosen before the first step and held by the optimizer. Each can be turned on Train while a run is running; "
        "the loop then uses the new value from its next step on.",
    )
    number_table(
        [
            ("optimizer", type(shown.trainer.optimizer).__name__),
            ("lr, learning rate", f"{group['lr']:g}"),
            ("weight_decay", f"{group['weight_decay']:g}"),
            ("max_steps, iterations", f"{settings.max_steps:,}"),
        ],
        ("setting", "value"),
    )
    heading(
        "m.parameters(): what the optimizer was given",
        "Each line is one tensor that training moves, with its shape and how many numbers it holds. The total is what "
        "people call the size of a model.",
    )
    rows = [(name, str(tuple(p.shape)), f"{p.numel():,}", str(p.requires_grad)) for name, p in shown.parameters.items()]
    with scrollable(len(rows)):
        number_table(rows, ("parameter", "shape", "numbers", "requires grad"))
    first_values(shown)
    model = shown.model
    own = list(model._parameters)
    children = {name: list(child._parameters) for name, child in model.named_children() if child._parameters}
    generator = model.parameters()
    first, again = len(list(generator)), len(list(generator))
    one = next(model.parameters()).requires_grad_(False)
    yielded = [p.requires_grad for p in model.parameters()]
    one.requires_grad_(True)
    document_note(
        "document 004",
        "parameters() yields all trainable parameters; a module keeps them in its _parameters.",
        f"This model's own _parameters: {own or 'empty'}. "
        + (f"They sit in its children: {children}. " if children else "")
        + f"With one tensor frozen, parameters() still yields {len(yielded)}, though {sum(yielded)} "
        f"require a gradient. And it is a generator: read once it gave {first}, read again {again}.",
    )


def first_values(shown: InspectedStep) -> None:
    """The weights as they were drawn before the first step, beside what they are now."""
    config, dataset = shown.config, shown.dataset
    first = cached(shown, "first weights", lambda: dict(first_model(config, dataset).named_parameters()))
    heading(
        "Random first values",
        "Before the first step every weight is drawn at random, or set to a constant: nothing has been learnt. A line "
        "is a parameter: its first number, the mean and the spread of all its numbers, as drawn and as they are now.",
    )
    rows = [
        (name, *value_words(first[name].detach()), *value_words(p.detach())) for name, p in shown.parameters.items()
    ]
    with scrollable(len(rows)):
        number_table(rows, ("parameter", "first number", "drawn: mean", "spread", "now", "mean now", "spread now"))
    moved = sum(int((p.detach() != first[name]).sum()) for name, p in shown.parameters.items())
    total = sum(p.numel() for p in shown.parameters.values())
    if isinstance(dataset, Corpus) and dataset.former is not None:
        told = "This run did not begin with its seed's weights but with those of a model that was trained before."
    elif not moved:
        told = f"Seed {config.seed:,} gave these {total:,} numbers, and no step has changed one of them yet."
    else:
        told = f"Seed {config.seed:,} gave the first {total:,} numbers; training has moved {moved:,} of them since."
    st.text(told)
    document_note(
        "document 000",
        "These weights start with random values and have to be adjusted.",
        f"As drawn, the mean of all weights is {short(float(flat(first).mean()))} and the mean size "
        f"{short(float(flat(first).abs().mean()))}; now they are {short(float(flat(shown.parameters).mean()))} and "
        f"{short(float(flat(shown.parameters).abs().mean()))}. The same seed draws the same numbers every time.",
    )


def flat(parameters: Mapping[str, torch.nn.Parameter]) -> Tensor:
    """All numbers of all parameters, (n,), float64."""
    return torch.cat([p.detach().flatten() for p in parameters.values()]).double()


def value_words(numbers: Tensor) -> tuple[str, str, str]:
    """The first of these numbers, their mean and their standard deviation, in words."""
    spread = float(numbers.std(correction=0)) if numbers.numel() > 1 else 0.0
    return short(float(numbers.flatten()[0])), short(float(numbers.mean())), short(spread)


def batch_view(shown: InspectedStep) -> None:
    """Inputs and targets: characters and ids for text, numbers for the small models."""
    if not shown.is_text:
        small_batch(shown)
        return
    inputs, targets = shown.trainer.inputs, shown.trainer.targets
    row, position = position_picker(shown)
    longest = max(len(shortened(shown.labels[i])) for i in [*inputs[row].tolist(), *targets[row].tolist()])
    show(
        window_figure(shown, row, position),
        "step_window",
        "One window: inputs, and the targets one token later",
        "The upper row is what the model reads, the lower one what it should predict at each place; the arrow shows "
        "that a target is the next place's input. The prediction at this place may use the bright inputs.",
        height=190,
        least_width=110 + min(inputs.shape[1], MOST_POSITIONS) * (11 + 11 * longest),
    )
    window, right = inputs[row], targets[row]
    st.code(
        f"inputs[{row}]  = {window.tolist()}\ntargets[{row}] = {right.tolist()}\n"
        f"torch.equal(inputs[{row}, 1:], targets[{row}, :-1])  # {torch.equal(window[1:], right[:-1])}",
        language="python",
        wrap_lines=True,
    )
    rows, steps = inputs.shape
    dataset, seen = shown.dataset, shown.moment.snapshot.tokens_seen + inputs.numel()
    assert isinstance(dataset, Corpus)
    heading(
        "The whole batch",
        "A line is a window, its blanks shown as signs. Windows come from all over the training text and have nothing "
        "to do with one another: they are computed side by side.",
    )
    lines = "\n".join("".join(shown.labels[i] for i in ids) for ids in inputs[:MOST_ROWS].tolist())
    st.code(lines, language=None, height=min(260, 50 + 21 * min(rows, MOST_ROWS)))
    document_note(
        "document 000",
        "Training goes through the data several times.",
        f"A batch is {rows} windows of {steps} tokens, {rows * steps:,} tokens, drawn at random with repetition. With "
        f"this one the run has seen {seen:,} tokens: {seen / len(dataset.train):.3f} times the {len(dataset.train):,} "
        "tokens of the training text, some places more than once and others never.",
    )


def window_figure(shown: InspectedStep, row: int, position: int) -> go.Figure:
    """Two rows of tokens, (2, T); the inputs that the prediction at `position` may use are bright."""
    inputs, targets = shown.trainer.inputs[row].tolist(), shown.trainer.targets[row].tolist()
    first = max(0, min(position - MOST_POSITIONS // 2, len(inputs) - MOST_POSITIONS))
    cut = slice(first, first + MOST_POSITIONS)
    at = position - first
    reaches = getattr(shown.model, "context", 1)
    z = np.zeros((2, len(inputs[cut])))
    z[0, max(0, at - reaches + 1) : at + 1] = 0.06
    z[:, at] = 0.16
    text = [[literal(shortened(shown.labels[i])) for i in ids[cut]] for ids in (inputs, targets)]
    figure = heatmap(
        z,
        scale="probability",
        x=[str(i) for i in range(len(inputs))[cut]],
        y=["inputs", "targets"],
        x_title="position t",
    )
    fewer_ticks(figure)
    figure.update_traces(showscale=False, xgap=3, ygap=10, hoverinfo="skip", hovertemplate=None)
    for line, tokens in enumerate(text):
        for column, token in enumerate(tokens):
            figure.add_annotation(
                x=column, y=line, text=token, showarrow=False, font={"size": 18, "family": "monospace"}
            )
    if at + 1 < z.shape[1]:
        arrow = {"ax": at, "ay": 0.72, "axref": "x", "ayref": "y", "x": at + 0.75, "y": 0.28}
        figure.add_annotation(**arrow, text="", arrowcolor=EVENT, arrowwidth=2, arrowhead=2)
    return figure


def small_batch(shown: InspectedStep) -> None:
    """The numbers of the line and of the logistic layer."""
    inputs, targets = shown.trainer.inputs, shown.trainer.targets
    heading(
        "All examples, in every step",
        "A line is one example: what goes in, and what should come out. There are too few to draw from.",
    )
    rows = [
        (str(i), ", ".join(digits(x) for x in given), ", ".join(digits(y) for y in right))
        for i, (given, right) in enumerate(zip(inputs.tolist(), targets.tolist(), strict=True))
    ]
    number_table(rows, ("example", "input", "target"))
    st.code(f"inputs.shape   # {tuple(inputs.shape)}\ntargets.shape  # {tuple(targets.shape)}", language="python")
