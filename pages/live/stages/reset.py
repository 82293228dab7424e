"""The reset stage: no gradients again, and what stays for the next step."""

from __future__ import annotations

import streamlit as st

from pages.live.charts import heading
from pages.live.opened import Opened
from pages.live.stages.parts import number, numbers

MOST_LINES = 60


def reset_view(shown: Opened) -> None:
    """.grad is None, the moments and the weights stay."""
    trainer = shown.trainer
    copies = {id(p): g for p, g in zip(trainer.parameters, trainer.grads, strict=False)}
    heading(
        "Gradients before and after the reset",
        "A line is one parameter: the norm its gradient had in this step, and what .grad is now. Healthy is None "
        "everywhere, so that the next backward() adds to nothing.",
    )
    rows = [
        (name, number(float(copies[id(p)].norm())) if id(p) in copies else "none", str(p.grad))
        for name, p in list(shown.parameters.items())[:MOST_LINES]
    ]
    with st.container(height=min(440, 90 + 38 * len(rows)), border=False):
        numbers(rows, ("parameter", "norm of its gradient in this step", ".grad now"))
    state = trainer.optimizer.state
    kept = [
        (name, ", ".join(sorted(state[p])), f"{int(state[p]['step']):,}")
        for name, p in list(shown.parameters.items())[:MOST_LINES]
        if p in state and "step" in state[p]
    ]
    if kept:
        heading(
            "What stays for the next step",
            "The optimizer's memory of each parameter survives the reset: two running means, and how many updates went "
            "into them. Only .grad is cleared.",
        )
        with st.container(height=min(300, 90 + 38 * len(kept)), border=False):
            numbers(kept, ("parameter", "kept by the optimizer", "updates"))
    st.caption(
        "None or zeros, before backward() or after step(), or no clearing at all: the tab What if runs each of them."
    )
