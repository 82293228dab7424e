"""The measure and guard stages: the gradient's norm by hand, and what happens to one that is not finite."""

from __future__ import annotations

import math

import streamlit as st
import torch

from engine.lessons.results import percent
from engine.training.checkpoint import PausedState
from engine.training.state import replay
from engine.training.trainer import STAGES
from pages.charts.palette import TRAIN
from pages.charts.static import heading, plane, show
from pages.views.shared.inspected_step import InspectedStep
from pages.views.step.stages.shared import digits, number_table, short


def measure_view(shown: InspectedStep) -> None:
    """The norm of the whole gradient, from its parts."""
    trainer = shown.trainer
    squares = {
        name: sum(float((p.grad.double() ** 2).sum()) for p in part if p.grad is not None)
        for name, part in shown.model.layers().items()
    }
    total = sum(squares.values())
    heading(
        "The length of the gradient",
        "All gradients together are one long vector; its length is the root of the sum of all squares. Healthy is a "
        "number that changes slowly from step to step; a sudden jump is the first sign of trouble.",
    )
    count = sum(p.numel() for p in trainer.parameters)
    number_table(
        [
            (f"√ of the sum of {count:,} squares, float64", repr(math.sqrt(total))),
            ("what the run records, float32", digits(float(trainer.grad_norm))),
        ],
        ("grad_norm", "value"),
    )
    figure = plane("norm of its gradient", "")
    figure.add_bar(
        x=[math.sqrt(s) for s in squares.values()], y=list(squares), orientation="h", marker={"color": TRAIN}
    )
    figure.update_yaxes(autorange="reversed")
    show(
        figure,
        "step_norms",
        "Layer by layer",
        "A bar is the norm of one layer's gradient; the squares of the bars add up to the square of the whole. Healthy "
        "is that no layer is silent and none drowns the others.",
        height=100 + 26 * len(squares),
    )
    shares = [
        (name, short(math.sqrt(square)), percent(square / total if total else 0.0, 1))
        for name, square in squares.items()
    ]
    number_table(shares, ("layer", "norm", "share of the square"))


def guard_view(shown: InspectedStep) -> None:
    """The decision of this step, and the same step with an infinite gradient."""
    trainer = shown.trainer
    loss, norm = trainer.loss.item(), float(trainer.grad_norm)
    refused = trainer.recorder.diverged
    heading(
        "May this update happen?",
        "Both numbers must be finite, else the update is withheld and the run stops at that step. Healthy is yes, "
        "twice, at every step.",
    )
    number_table(
        [
            ("loss", short(loss), "yes" if math.isfinite(loss) else "no"),
            ("gradient norm", short(norm), "yes" if math.isfinite(norm) else "no"),
            ("the update", "", "withheld" if refused else "allowed"),
        ],
        ("what", "value", "finite?"),
    )
    moment = PausedState(shown.moment.snapshot, STAGES.index("measure"), shown.moment.turns)
    other = replay(shown.config, shown.dataset, moment)
    broken = other.parameters[0]
    assert broken.grad is not None
    broken.grad.view(-1)[0] = math.inf
    for _ in range(3):  # measure, guard, update
        other.stage()
    same = all(torch.equal(p, shown.before[name]) for name, p in other.model.named_parameters())
    plain = torch.nn.Parameter(broken.detach().clone())
    plain.grad = broken.grad.clone()
    torch.optim.AdamW([plain], lr=trainer.rate).step()
    lost = int((~torch.isfinite(plain)).sum())
    heading(
        "The same step with one infinity in the gradient",
        "On a throwaway copy the first number of the first gradient was set to infinity. The guard must withhold the "
        "update; without it the weight becomes NaN, and the next forward pass spreads it.",
    )
    number_table(
        [
            (
                "with the guard",
                "update withheld" if other.recorder.diverged else "update allowed",
                f"unchanged: {same}",
            ),
            ("without it, AdamW", "update made", f"{lost:,} of {plain.numel():,} weights no longer finite"),
        ],
        ("on the copy", "decision", "weights"),
    )
    st.caption("The run itself is not touched: the copy is thrown away.")
