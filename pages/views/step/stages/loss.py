"""The loss stage: the loss of each position and the mean, the flattening, and autograd's graph."""

from __future__ import annotations

import math

import plotly.graph_objects as go
import streamlit as st
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.analysis.autograd_graph import GraphNode, graph_nodes, nodes_within
from engine.analysis.loss_by_position import added_as_torch_does
from pages.charts.palette import FIGURE_FONT, PANEL, TRAIN, Theme, colours
from pages.charts.static import heading, heatmap, literal, show, theme
from pages.views.shared.inspected_step import InspectedStep
from pages.views.step.stages.shared import (
    choice_state,
    document_note,
    fewer_ticks,
    number_table,
    position_picker,
    short,
)

TEXT_CELLS = 300
DEPTH = 6

GRAPH_STYLE = """<style>
.st-key-step_graph { overflow-x: auto; }
.st-key-step_graph svg { max-width: none; }
</style>"""


def loss_view(shown: InspectedStep) -> None:
    """From scores to one number, and what autograd recorded on the way."""
    trainer = shown.trainer
    losses = shown.model.pointwise_loss(trainer.logits.detach(), trainer.targets)
    if shown.is_text:
        row, position = position_picker(shown)
        one, other = st.columns([5, 4])
        with one:
            show(
                loss_figure(shown, losses),
                "step_losses",
                "Loss of each place, nats",
                "A cell is minus the logarithm of the right token's probability at that place. 0 would be certainty; "
                "a bright cell is a confident mistake, and a few of them make most of the mean.",
                height=max(300, min(620, 60 + 17 * len(losses))),
            )
        with other:
            mean_table(shown, losses)
            paid = float(losses[row, position])
            document_note(
                "document 003",
                "The logarithm magnifies small differences.",
                f"At window {row}, position {position} the right token had probability {short(math.exp(-paid))}: the "
                f"loss there is {paid:.4f}. Near certainty the logarithm does little: −ln 0.99 = "
                f"{-math.log(0.99):.4f}, −ln 0.98 = {-math.log(0.98):.4f}. It punishes confident mistakes: −ln 0.01 = "
                f"{-math.log(0.01):.4f}.",
            )
        show(
            flat_figure(*trainer.logits.shape),
            "step_flat",
            "(B, T, C) → (B·T, C), and (B, T) → (B·T,)",
            "cross_entropy wants a list of cases: one row of scores and one right id each. The windows are laid end to "
            "end; nothing is computed and no number moves.",
            height=270,
        )
    else:
        mean_table(shown, losses)
    graph_view(shown)
    grad_fn_names()


def mean_table(shown: InspectedStep, losses: Tensor) -> None:
    """The mean by hand beside the loss that torch computed, with all digits."""
    theirs, mine = shown.trainer.loss.item(), added_as_torch_does(shown.model, losses)
    heading(
        "Their mean is the loss",
        "The same places, added up by hand and by torch. Both are float32, so the order of the sum shows in the last "
        "digits: by hand it follows torch's own order.",
    )
    number_table(
        [
            ("loss, by torch", repr(theirs)),
            (f"mean of the {losses.numel():,} losses, by hand", repr(mine)),
            ("equal to the last digit?", "yes" if theirs == mine else f"no, {abs(theirs - mine):.1e} apart"),
            ("the same mean in float64", repr(losses.double().mean().item())),
        ],
        ("what", "value"),
    )


def loss_figure(shown: InspectedStep, losses: Tensor) -> go.Figure:
    """A (B, T) table of losses, with the right tokens written in if they fit."""
    targets = shown.trainer.targets
    text = [[literal(shown.labels[i]) for i in ids] for ids in targets.tolist()]
    figure = heatmap(
        losses.numpy(),
        scale="probability",
        text=text if targets.numel() <= TEXT_CELLS else None,
        x_title="position t",
        y_title="window",
    )
    figure.update_traces(zmax=max(1.0, float(losses.max())))
    return fewer_ticks(figure)


def flat_figure(rows: int, steps: int, scores: int) -> go.Figure:
    """B sheets of (T, C) beside the one tall table that they become, and the list of targets."""
    figure = go.Figure()
    sheets = min(rows, 4)
    for sheet in reversed(range(sheets)):
        x, y = 1.8 + 0.2 * sheet, 0.5 + 0.5 * sheet
        _box(figure, x, y, x + 1.5, y + 1.5, sheet)
    for sheet in range(sheets):
        y = 0.3 + 0.85 * (sheets - 1 - sheet)
        _box(figure, 7.2, y, 8.7, y + 0.85, sheet)
        _box(figure, 9.9, y, 10.2, y + 0.85, sheet)
    words = [
        (2.55, 0.2, "center", f"C = {scores:,}"),
        (1.7, 1.25, "right", f"T = {steps}"),
        (1.8, 3.9, "left", f"B = {rows}" + (f", {sheets} drawn" if rows > sheets else "")),
        (5.55, 2.3, "center", "view(B·T, C)"),
        (5.55, 1.5, "center", "→"),
        (2.55, -0.3, "center", f"logits ({rows}, {steps}, {scores:,})"),
        (7.95, -0.3, "center", f"({rows * steps:,}, {scores:,})"),
        (10.6, -0.85, "right", f"targets ({rows * steps:,},)"),
    ]
    for x, y, anchor, text in words:
        font = {"size": 28 if text == "→" else FIGURE_FONT}
        figure.add_annotation(x=x, y=y, xanchor=anchor, text=text, showarrow=False, font=font)
    figure.update_xaxes(visible=False, range=[0, 10.6], fixedrange=True)
    figure.update_yaxes(visible=False, range=[-1.2, 4.2], fixedrange=True)
    return figure


def _box(figure: go.Figure, x0: float, y0: float, x1: float, y1: float, sheet: int) -> None:
    """One window's part; neighbours alternate."""
    fill = TRAIN if sheet % 2 == 0 else PANEL
    figure.add_shape(type="rect", x0=x0, y0=y0, x1=x1, y1=y1, fillcolor=fill, line={"color": TRAIN, "width": 1})


def graph_view(shown: InspectedStep) -> None:
    """The recorded graph, from a node that can be chosen."""
    nodes = graph_nodes(shown.trainer.loss, shown.parameters)
    heading(
        "The graph behind this loss",
        "Autograd's own record, each box under the name that torch gives it: the way back from the loss to the "
        "weights. Every path ends in an AccumulateGrad, which leaves the gradient in the parameter named in it.",
    )
    one, other = st.columns(2)
    key, start, react = choice_state(f"graph_from_{len(nodes)}", 0)
    start = one.selectbox(
        f"go on from (all {len(nodes)} nodes, the loss first)",
        range(len(nodes)),
        start,
        key=key,
        format_func=lambda i: node_name(nodes[i]),
        on_change=react,
    )
    depth = DEPTH
    if len(nodes) > DEPTH:
        key, depth, react = choice_state("graph_depth", DEPTH)
        depth = other.slider("how many steps back to draw", 1, 20, depth, key=key, on_change=react)
    drawn = nodes_within(nodes, start, depth)
    st.html(GRAPH_STYLE)
    with st.container(key="step_graph"):
        st.graphviz_chart(dot(nodes, drawn, theme()), width="content")
    hidden = len(nodes_within(nodes, start, len(nodes))) - len(drawn)
    if hidden:
        st.caption(f"{hidden:,} nodes lie further back. A box that ends in … goes on: choose it above, or draw more.")


def node_name(node: GraphNode) -> str:
    """A node's number and name, and its parameter's."""
    name = node.name.removeprefix("torch::autograd::")
    return f"{node.number}: {name}" + (f" · {node.parameter}" if node.parameter else "")


def dot(nodes: list[GraphNode], drawn: list[int], theme: Theme) -> str:
    """A part of the graph in Graphviz's language; every word in it is torch's or the model's own."""
    text, ground, line, leaf = (colours(theme)[name] for name in ("text", "panel", "baseline", "good"))
    shown = set(drawn)
    lines = [
        "digraph { rankdir=LR; bgcolor=transparent; nodesep=0.15; ranksep=0.35;",
        f'node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=12, height=0.3, '
        f'fillcolor="{ground}", color="{line}", fontcolor="{text}"]; edge [color="{line}", arrowsize=0.7];',
    ]
    for at in drawn:
        node = nodes[at]
        label = node_name(node).replace(" · ", "\\n") + (" …" if set(node.inputs) - shown else "")
        edge = f', color="{leaf}", penwidth=2' if node.parameter else ""
        lines.append(f'{at} [label="{label}"{edge}];')
        lines += [f"{at} -> {other};" for other in node.inputs if other in shown]
    return "\n".join([*lines, "}"])


def grad_fn_names() -> None:
    """Document 003's list of grad_fn names, asked of torch itself."""
    x = torch.ones(2, 2, requires_grad=True)
    image = torch.ones(1, 1, 3, 3)
    asked = {
        "a sum of two": x + x,
        "a product": x * x,
        "a mean": x.mean(),
        "F.linear with a bias": F.linear(x, x, torch.ones(2)),
        "F.conv2d": F.conv2d(image, x.view(1, 1, 2, 2)),
    }
    found = ", ".join(f"{what}: {result.grad_fn.name()}" for what, result in asked.items() if result.grad_fn)
    document_note(
        "document 003", "grad_fn may be Conv2DBackward or LinearBackward.", f"Asked of torch just now: {found}."
    )
