"""The reset stage: no gradients again, and what stays for the next step."""

from __future__ import annotations

import streamlit as st

from engine.training.checkpoint import PausedState
from engine.training.state import replay
from engine.training.trainer import STAGES
from pages.charts.static import heading
from pages.views.shared.inspected_step import InspectedStep
from pages.views.step.stages.shared import cached, number_table, scrollable, short

MOST_LINES = 60


def reset_view(shown: InspectedStep) -> None:
    """.grad is None, the moments and the weights stay."""
    trainer = shown.trainer
    had = cached(shown, "gradients before", lambda: norms_before(shown))
    heading(
        "Gradients before and after the reset",
        "A line is one parameter: its .grad just before this stage, and what it is now. Healthy is None "
        "everywhere, so that the next backward() adds to nothing.",
    )
    rows = [
        (name, f"tensor, norm {short(had[name])}" if name in had else "None", str(p.grad))
        for name, p in list(shown.parameters.items())[:MOST_LINES]
    ]
    with scrollable(len(rows)):
        number_table(rows, ("parameter", ".grad before the reset", ".grad now"))
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
        with scrollable(len(kept)):
            number_table(kept, ("parameter", "kept by the optimizer", "updates"))
    st.caption(
        "None or zeros, before backward() or after step(), or no clearing at all: the tab What if runs each of them."
    )


def norms_before(shown: InspectedStep) -> dict[str, float]:
    """The norm of each gradient that there was before this stage, by parameter."""
    moment = PausedState(shown.moment.snapshot, len(STAGES) - 1, shown.moment.turns)
    before = replay(shown.config, shown.dataset, moment)
    return {name: float(p.grad.norm()) for name, p in before.model.named_parameters() if p.grad is not None}
