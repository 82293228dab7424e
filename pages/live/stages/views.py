"""What each stage shows, by its name; and what exists at each moment of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from pages.live.charts import heading
from pages.live.opened import Opened
from pages.live.stages.backward import backward_view
from pages.live.stages.batch import batch_view, before_view
from pages.live.stages.forward import forward_view
from pages.live.stages.guard import guard_view, measure_view
from pages.live.stages.loss import loss_view
from pages.live.stages.observe import observe_view
from pages.live.stages.parts import numbers
from pages.live.stages.reset import reset_view
from pages.live.stages.update import update_view

VIEWS: Mapping[str | None, Callable[[Opened], None]] = {
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


def view(shown: Opened) -> None:
    """The real thing behind the stage that was done last."""
    if found := VIEWS.get(shown.stage):
        found(shown)


def exists(shown: Opened) -> None:
    """What there is in memory at this moment, read from the copy itself."""
    heading(
        "What exists now",
        "Read from the tensors at this moment. Healthy is an order: outputs, a loss, gradients, moments; at the end of "
        "the step the gradients are gone again.",
    )
    numbers(inventory(shown), ("what", "now"))


def inventory(shown: Opened) -> list[tuple[str, str]]:
    """Name and state of everything that a step makes."""
    trainer = shown.trainer
    inputs, targets, outputs, loss = (getattr(trainer, name, None) for name in ("inputs", "targets", "logits", "loss"))
    grads = [p for p in trainer.parameters if p.grad is not None]
    memory = trainer.optimizer.state
    kept: dict[str, Any] = next((memory[p] for p in trainer.parameters if p in memory), {})
    holds = ", ".join(f"step = {int(value):,}" if name == "step" else name for name, value in sorted(kept.items()))
    return [
        ("inputs, targets", "not yet" if inputs is None else f"{size(inputs)}, {size(targets)}"),
        ("logits" if shown.is_text else "outputs", size(outputs)),
        ("loss", "not yet" if loss is None else f"{loss.item():.4f}, made by {loss.grad_fn.name()}"),
        (".grad", f"in {len(grads)} of {len(trainer.parameters)} parameters" if grads else "None"),
        ("optimizer state", holds or "empty"),
        ("weights", f"after {trainer.step:,} updates"),
    ]


def size(tensor: Tensor | None) -> str:
    """A shape as torch prints it."""
    return "not yet" if tensor is None else str(tuple(tensor.shape))
