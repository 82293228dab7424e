"""train(), eval() and no_grad(): the same batch twice under each, and what autograd keeps in memory."""

from __future__ import annotations

import streamlit as st
import torch

from engine.config import changed
from engine.graph import kept_by
from engine.models import Model, build
from engine.models.base import Dropout
from pages.live.charts import heading
from pages.live.opened import Opened
from pages.live.stages.parts import numbers

DROPOUT = 0.2


def modes(shown: Opened) -> None:
    """How observing leaves the training alone."""
    model, note = with_dropout(shown)
    trainer = shown.trainer
    inputs, targets = trainer.inputs, trainer.targets

    def loss() -> torch.Tensor:
        found: torch.Tensor = model.loss(model.outputs(inputs), targets)
        return found

    rows = []
    for mode in ("train()", "eval()"):
        model.train(mode == "train()")
        first, second = loss(), loss()
        kept = kept_by(loss)
        with torch.no_grad():
            without, again, free = loss(), loss(), kept_by(loss)
        rows += [
            (mode, *_twice(first, second), first.requires_grad, f"{kept.bytes:,} in {kept.tensors} tensors"),
            (f"{mode} and no_grad()", *_twice(without, again), without.requires_grad, f"{free.bytes:,}"),
        ]
    heading(
        "The same batch twice: train(), eval(), no_grad()",
        "train() and eval() switch dropout; no_grad() switches the recording for backward(). Healthy is that eval() "
        "gives the same loss twice, and that no_grad() keeps nothing.",
    )
    numbers(
        [(mode, one, other, "yes" if graph else "no", memory) for mode, one, other, graph, memory in rows],
        ("mode", "loss", "again", "graph recorded?", "bytes kept for backward()"),
    )
    st.caption(note)


def _twice(one: torch.Tensor, other: torch.Tensor) -> tuple[str, str]:
    return f"{one.item():.6f}", f"{other.item():.6f}"


def with_dropout(shown: Opened) -> tuple[Model, str]:
    """A copy of the model that drops, where the model has a place for it, and a sentence on what it is."""
    config = shown.run.config
    note = "On a copy of the model as it is now; validation and samples run under eval() and no_grad()."
    if config.model == "gpt" and not config.dropout:
        config = changed(config, dropout=DROPOUT)
        note += f" This run has no dropout: the copy was given {DROPOUT:g}, to show the difference."
    elif config.model != "gpt":
        note += " This model has no dropout, so both modes give one loss; a GPT shows two under train()."
    model = build(config, shown.run.dataset.vocab_size)
    model.load_state_dict(shown.model.state_dict())
    draws = torch.Generator().manual_seed(config.seed)
    for module in model.modules():
        if isinstance(module, Dropout):
            module.generator = draws
    return model, note
