"""The 5→3 logistic layer of document 002: its printed gradients, why they are equal, and a loss without a minimum."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
import torch

from engine.config import changed
from engine.lessons.logistic_printout import PrintedStep, record_steps
from engine.presets import preset
from pages.charts import static
from pages.charts.palette import BASELINE, TRAIN
from pages.widgets.open_on_train import open_on_train_button

PRESET = "document-002"
LONG = 2000
DASHES = ("solid", "dash", "dot")

WHAT = """
This is the model of document 002's code: five inputs, all 1, three outputs that should all say *no* (0), plain
gradient descent at learning rate 0.01, five steps. The document introduces it as an illustration of y = ax + b, but it
is **another model**: it has 18 weights instead of 2, its loss is binary cross-entropy instead of squared error, and its
data are these ones and zeros, not the table of points. Below is what the code prints, from a real trainer.
"""
WHY = """
**Why all five rows are equal.** z = x·w + b, so the slope of the loss in weight w[i, j] is input i times the slope in
output j. All inputs are 1, so each row gets the same three slopes; and b counts as one more weight whose input is 1, so
its gradient is that row again.

**Why σ(z) ÷ 3.** The loss of one output with target 0 is −ln(1 − σ(z)), whose slope in z is σ(z) − 0. The loss is the
mean over three outputs, so each slope is divided by 3.
"""
NO_MINIMUM = """
**This loss has no minimum.** Its slope in every weight is σ(z) ÷ 3, and σ(z) is never 0: however sure the *no* is,
surer is better. So z goes on falling without end, ever more slowly, and the loss comes as near to 0 as one likes and
never arrives. A model that should answer the same to everything learns nothing else; real data holds it back by
examples of both kinds. The document's five steps are the very beginning of the curve.
"""
STEPS = """
**Five steps, five epochs, here.** The data are one example, and each step uses it: a step is a pass. The document calls
an iteration an epoch in general, which holds only where every batch is all of the data.
"""


@lru_cache(maxsize=4)
def trained_layer(seed: int) -> list[PrintedStep]:
    """Train the layer for many steps from the first weights of `seed`: half a second, then cached."""
    start = preset(PRESET)
    return record_steps(changed(start.config, seed=seed), start.settings, LONG)


@st.fragment
def show() -> None:
    """The tab."""
    st.markdown(WHAT)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        seed = st.number_input(
            "seed of the first weights",
            0,
            2**53 - 1,
            preset(PRESET).config.seed,
            key="layer_seed",
            width=240,
            help="w and b are drawn from N(0, 1), from a generator with this seed. The document sets none.",
        )
        open_on_train_button(PRESET)
    steps = trained_layer(int(seed))
    left, right = st.columns([3, 4], gap="large")
    with left:
        static.heading(
            "What the code prints",
            "After each backward(): w.grad with a row for each input and a column for each output, then b.grad; the "
            "line with the loss is ours. Healthy here: all rows alike, and each number smaller than a step before.",
        )
        st.code("\n\n".join(f"{one}\nloss {one.loss:.6f}" for one in steps[:5]), language=None)
    with right:
        one_step(steps[:5])
    st.divider()
    left, right = st.columns([3, 4], gap="large")
    left.markdown(NO_MINIMUM)
    left.markdown(STEPS)
    with right:
        loss_and_scores(steps)


def one_step(steps: list[PrintedStep]) -> None:
    """One of the five steps: its loss, its gradient as a table in colour, and the two equalities."""
    at = st.segmented_control(
        "step, from 0 as the document counts", range(len(steps)), default=0, key="layer_step", required=True
    )
    now = steps[at or 0]
    st.text(f"loss {now.loss:.6f} nats per output")
    static.show(
        static.heatmap(
            now.w_grad,
            scale="signed",
            x_title="output",
            y_title="input",
            limit=1 / 3,
            text=[[f"{cell:.4f}" for cell in row] for row in now.w_grad.tolist()],
        ),
        "layer_gradient",
        "w.grad",
        "Each cell is the slope of the loss in one weight; all are positive, so each step lowers all weights. The "
        "scale ends at 1/3, the largest slope there can be. Healthy here: five rows without a difference.",
        height=230,
    )
    by_hand = torch.sigmoid(now.z) / 3
    static.heading(
        "b.grad and σ(z) ÷ 3",
        "What autograd found and what the formula says, for each output, both in float32. Healthy is a difference of "
        "0, or of the last digit.",
    )
    table = {
        "output": range(3),
        "z": now.z.tolist(),
        "σ(z) ÷ 3": by_hand.tolist(),
        "b.grad": now.b_grad.tolist(),
        "difference": [f"{d:.1e}" for d in (now.b_grad - by_hand).tolist()],
    }
    st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        width="stretch",
        column_config={name: st.column_config.NumberColumn(format="%.6f") for name in ("z", "σ(z) ÷ 3", "b.grad")},
    )
    same = sum(torch.equal(row, now.b_grad) for row in now.w_grad)
    st.text(f"{same} of 5 rows of w.grad equal b.grad, bit for bit.")
    st.markdown(WHY)


def loss_and_scores(steps: list[PrintedStep]) -> None:
    """The loss and the three z over many steps."""
    static.show(
        curves([("loss", [one.loss for one in steps])], "loss, nats per output", log_y=True),
        "layer_loss",
        f"The loss over {LONG:,} steps",
        "A real run of the same layer from the same weights, both axes logarithmic; the dotted line is where the "
        "document stops. It falls at every step and never levels off, since there is no minimum to level off at.",
        height=260,
    )
    z = torch.stack([one.z for one in steps])  # (steps, 3)
    static.show(
        curves([(f"output {j}", z[:, j].tolist()) for j in range(3)], "z, the score for yes"),
        "layer_z",
        "z goes to −∞",
        "The score of each output, one curve each; σ(z) is its probability of yes. Healthy for any other task would be "
        "a curve that settles: these cannot, because the target is 0 and no finite z gives exactly 0.",
        height=260,
    )
    told = ", ".join(f"{steps[at - 1].loss:.4f} at step {at:,}" for at in (1, 5, 100, LONG))
    st.text(f"Loss, computed: {told}.")


def curves(lines: list[tuple[str, list[float]]], y_title: str, log_y: bool = False) -> go.Figure:
    """Curves over the steps, counted from 1 on a logarithmic axis."""
    figure = static.plane("step, counted from 1", y_title, log_x=True, log_y=log_y)
    at = np.unique(np.geomspace(1, LONG, 300).astype(int))  # as many as the width shows
    for (name, values), dash in zip(lines, DASHES, strict=False):
        shown = np.array(values)[at - 1]
        figure.add_scatter(name=name, x=at, y=shown, mode="lines", line={"color": TRAIN, "width": 3, "dash": dash})
    figure.add_vline(5, line={"color": BASELINE, "dash": "dot", "width": 1.5})
    figure.update_xaxes(dtick=1)
    figure.update_yaxes(dtick=1 if log_y else None)
    return figure.update_layout(showlegend=len(lines) > 1, hovermode="x unified")
