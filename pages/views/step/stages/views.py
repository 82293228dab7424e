"""Which view shows which stage; and what exists in memory after each stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st
from torch import Tensor

from pages.charts.static import heading
from pages.views.shared.inspected_step import InspectedStep
from pages.views.step.stages.backward import backward_view
from pages.views.step.stages.batch import batch_view, before_view
from pages.views.step.stages.forward import forward_view
from pages.views.step.stages.guard import guard_view, measure_view
from pages.views.step.stages.loss import loss_view
from pages.views.step.stages.observe import observe_view
from pages.views.step.stages.reset import reset_view
from pages.views.step.stages.shared import number_table
from pages.views.step.stages.update import update_view

VIEWS: Mapping[str | None, Callable[[InspectedStep], None]] = {
    None: before_view,
    "batch": batch_view,
    "forward": forward_view,
    "loss": loss_view,
    "backward": backward_view,
    "measure": measure_view,
    "guard": guard_view,
    "update": update_view,
    "observe": observe_view,
    "reset": reset_view,
}


def stage_details(shown: InspectedStep) -> None:
    """The tensors of the stage that was done last."""
    if found := VIEWS.get(shown.stage):
        found(shown)


def inventory_table(shown: InspectedStep) -> None:
    """What exists in memory after this stage, read from the copy."""
    heading(
        "What exists now",
        "Read from the tensors at this moment. Healthy is an order: outputs, a loss, gradients, moments; at the end of "
        "the step the gradients are gone again.",
    )
    step = str(shown.copy.number)
    seen: tuple[str, dict[int, dict[str, str]]] = st.session_state.get("step_inventory", ("", {}))
    if seen[0] != step:
        seen = step, {}
    now = seen[1][shown.done] = inventory(shown)
    st.session_state.step_inventory = seen
    before = seen[1].get(shown.done - 1, now)
    changes = [(what, f"{before[what]} → {is_}" if before[what] != is_ else is_) for what, is_ in now.items()]
    number_table(changes, ("what", "now"))


def inventory(shown: InspectedStep) -> dict[str, str]:
    """Name and state of everything that a step makes."""
    trainer = shown.trainer
    inputs, targets, outputs, loss = (getattr(trainer, name, None) for name in ("inputs", "targets", "logits", "loss"))
    grads = [p.grad for p in trainer.parameters if p.grad is not None]
    memory = trainer.optimizer.state
    kept: dict[str, Any] = next((memory[p] for p in trainer.parameters if p in memory), {})
    holds = ", ".join(f"step = {int(value):,}" if name == "step" else name for name, value in sorted(kept.items()))
    several = f"tensors in {len(grads)} of {len(trainer.parameters)} parameters"
    return {
        "inputs, targets": "none" if inputs is None else f"{size(inputs)}, {size(targets)}",
        "logits" if shown.is_text else "outputs": size(outputs),
        "loss": "none" if loss is None else f"{loss.item():.4f}, made by {loss.grad_fn.name()}",
        ".grad": "None" if not grads else f"tensor {size(grads[0])}" if len(trainer.parameters) == 1 else several,
        "optimizer state": holds or "empty",
        "updates of the weights": f"{trainer.step:,}",
    }


def size(tensor: Tensor | None) -> str:
    """A shape as torch prints it."""
    return "none" if tensor is None else str(tuple(tensor.shape))
