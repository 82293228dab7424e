"""train(), eval() and no_grad(): the same batch twice under each, and what autograd keeps in memory."""

from __future__ import annotations

import streamlit as st
import torch

from engine.analysis.autograd_graph import SavedTensors, saved_by
from engine.config import changed
from engine.models.base import Dropout, Model
from engine.models.registry import build
from pages.charts.static import heading
from pages.views.shared.inspected_step import InspectedStep
from pages.views.step.stages.shared import cached, number_table

DROPOUT = 0.2


def mode_table(shown: InspectedStep) -> None:
    """The same batch twice in each mode."""
    rows, note = cached(shown, "modes", lambda: both_modes(shown))
    heading(
        "The same batch twice: train(), eval(), no_grad()",
        "train() and eval() switch dropout; no_grad() switches the recording for backward(). Healthy is that eval() "
        "gives the same loss twice, and that no_grad() keeps nothing.",
    )
    number_table(rows, ("mode", "loss", "again", "graph recorded?", "bytes kept for backward()"))
    st.caption(note)


def both_modes(shown: InspectedStep) -> tuple[list[tuple[str, ...]], str]:
    """The table's rows, computed on a copy, and a sentence about that copy."""
    model, note = with_dropout(shown)
    inputs, targets = shown.trainer.inputs, shown.trainer.targets

    def loss() -> torch.Tensor:
        return model.loss(model.outputs(inputs), targets)

    rows: list[tuple[str, ...]] = []
    for mode in ("train()", "eval()"):
        model.train(mode == "train()")
        rows.append((mode, *_twice(loss(), loss()), _kept(saved_by(loss))))
        with torch.no_grad():
            rows.append((f"{mode} and no_grad()", *_twice(loss(), loss()), _kept(saved_by(loss))))
    return rows, note


def _twice(one: torch.Tensor, other: torch.Tensor) -> tuple[str, str, str]:
    return f"{one.item():.6f}", f"{other.item():.6f}", "yes" if one.requires_grad else "no"


def _kept(kept: SavedTensors) -> str:
    return f"{kept.bytes:,} in {kept.tensors} tensors" if kept.tensors else "0"


def with_dropout(shown: InspectedStep) -> tuple[Model, str]:
    """A copy of the model with dropout, if the model has any, and a sentence about it."""
    config = shown.config
    note = "On a copy of the model as it is now; validation and samples run under eval() and no_grad()."
    if "dropout" not in shown.model.settings:
        note += " This model has no dropout, so both modes give one loss; a GPT shows two under train()."
    elif not config.dropout:
        config = changed(config, dropout=DROPOUT)
        note += f" This run has no dropout: the copy was given {DROPOUT:g}, to show the difference."
    model = build(config, shown.dataset.vocab_size)
    model.load_state_dict(shown.model.state_dict())
    draws = torch.Generator().manual_seed(config.seed)
    for module in model.modules():
        if isinstance(module, Dropout):
            module.generator = draws
    return model, note
