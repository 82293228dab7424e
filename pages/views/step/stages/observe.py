"""The observe stage: what the update did to one weight, to all of them, and to the loss on the same batch."""

from __future__ import annotations

import streamlit as st
import torch
from torch import Tensor
from torch.func import functional_call

from engine.training.checkpoint import PausedState
from engine.training.probes import update_ratios
from engine.training.sampling import evaluating
from engine.training.state import replay
from engine.training.trainer import STAGES
from pages.charts.static import heading
from pages.views.shared.inspected_step import InspectedStep
from pages.views.step.stages.agreement import against_or_along
from pages.views.step.stages.backward import table
from pages.views.step.stages.modes import mode_table
from pages.views.step.stages.shared import (
    cached,
    digits,
    document_note,
    number_table,
    short,
    weight_name,
    weight_picker,
)


def observe_view(shown: InspectedStep) -> None:
    """One weight, all weights, and the loss, before and after the update."""
    name, spot = weight_picker(shown)
    before, after = shown.before[name], shown.parameters[name].detach()
    one, other = st.columns([5, 4])
    with one:
        table(
            shown,
            name,
            after - before,
            "step_change",
            "What the update changed: Δw",
            "A cell is one weight, after minus before: orange grew, blue shrank. Compare with the gradient's heatmap: "
            f"where the colours are swapped, a weight moved against its slope. {against_or_along(shown)}",
        )
    with other:
        heading(
            "One weight, before and after",
            "The weight chosen above, and how far the update moved it as a share of itself.",
        )
        w, v = float(before[spot]), float(after[spot])
        number_table(
            [
                ("before", digits(w)),
                ("after", digits(v)),
                ("Δw", digits(v - w)),
                ("|Δw| ÷ |w|", f"{abs(v - w) / abs(w):.4g}" if w else "none: the weight was 0"),
            ],
            (weight_name(shown, name, spot), "value"),
        )
        ratio_table(shown)
        loss_table(shown)
    mode_table(shown)


def ratio_table(shown: InspectedStep) -> None:
    """‖Δw‖ / ‖w‖ by hand, and from the probe that feeds the charts."""
    heading(
        "How far all weights moved",
        "The length of the change as a share of the length of the weights: the chart of Train shows this number. For "
        "deep nets 1e-3 is a rule of thumb; a bigram has none.",
    )
    old = torch.cat([w.flatten() for w in shown.before.values()])
    new = torch.cat([shown.parameters[name].detach().flatten() for name in shown.before])
    moved, length = float((new - old).double().norm()), float(old.double().norm())
    named = {id(parameter): name for name, parameter in shown.parameters.items()}
    parts = shown.model.layers()
    probe = update_ratios({part: [shown.before[named[id(p)]] for p in group] for part, group in parts.items()}, parts)
    number_table(
        [
            ("‖Δw‖", short(moved)),
            ("‖w‖", short(length)),
            ("‖Δw‖ / ‖w‖, by hand", f"{moved / length:.6g}" if length else "no ratio: all weights were 0"),
            ("the same by the probe", f"{probe['update_ratio']:.6g}" if "update_ratio" in probe else "none"),
        ],
        ("all weights", "value"),
    )


def loss_table(shown: InspectedStep) -> None:
    """The loss that a script would print, and the updated model's loss on this batch and on the next."""
    trainer = shown.trainer
    then, now, following = cached(shown, "losses", lambda: three_losses(shown))
    heading(
        "The loss, before and after",
        "The same batch before and after the update, dropout off, and the batch that comes next. On its own batch an "
        "update should lower the loss; other batches scatter.",
    )
    number_table(
        [
            ("this batch, before the update", digits(then)),
            ("this batch, after it", digits(now)),
            ("difference", short(now - then)),
            ("the next batch, after it", digits(following)),
        ],
        ("loss", "value"),
    )
    document_note(
        "document 004",
        "print(loss.item()) shows the current loss.",
        f"It prints {digits(trainer.loss.item())}: the loss of this batch, by the weights before this update. By the "
        f"weights that there are now, this batch costs {digits(now)} and the next one {digits(following)}.",
    )


def three_losses(shown: InspectedStep) -> tuple[float, float, float]:
    """The loss of this batch before and after the update, and of the next batch after it."""
    batch = shown.trainer.inputs, shown.trainer.targets
    moment = PausedState(shown.moment.snapshot, len(STAGES), shown.moment.turns)
    coming = replay(shown.config, shown.dataset, moment)
    coming.stage()
    return (
        loss_with(shown, shown.before, *batch),
        loss_with(shown, None, *batch),
        loss_with(shown, None, coming.inputs, coming.targets),
    )


def loss_with(shown: InspectedStep, weights: dict[str, Tensor] | None, inputs: Tensor, targets: Tensor) -> float:
    """The loss of a batch under the copy's weights, or others, with dropout off."""
    model = shown.model
    with evaluating(model):
        outcome = functional_call(model, weights, (inputs, targets)) if weights else model(inputs, targets)
    return float(outcome[1])
