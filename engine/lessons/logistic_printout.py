"""The 5→3 logistic layer watched closely: what document 002's code prints, from a real trainer that is thrown away."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..config import LiveSettings, RunConfig, changed
from ..text.points import Points
from ..training.trainer import STAGES, Trainer

NEVER = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Printed:
    """One step, seen after `backward` and before the update: z (3,), w_grad (5, 3), b_grad (3,), loss in nats."""

    step: int
    z: Tensor
    loss: float
    w_grad: Tensor
    b_grad: Tensor

    def __str__(self) -> str:
        """As the document's loop prints it, which counts steps from 0."""
        return f"Training step {self.step}:\n{self.w_grad}\n{self.b_grad}"


def printed(config: RunConfig, settings: LiveSettings, steps: int) -> list[Printed]:
    """Train the logistic layer of `config` for `steps` steps on the CPU, and keep what each one saw."""
    config = changed(config, observe_every=NEVER)  # what is shown is read here, so the probes may rest
    trainer = Trainer(config, settings, Points.of(config), lambda _: None)
    w, b = (dict(trainer.model.named_parameters())[name] for name in ("w", "b"))
    told: list[Printed] = []
    for step in range(steps):
        for _ in range(STAGES.index("backward") + 1):
            trainer.stage()
        assert w.grad is not None and b.grad is not None
        z = trainer.logits.detach()[0].clone()
        told.append(Printed(step, z, trainer.loss.item(), w.grad.clone(), b.grad.clone()))
        trainer.advance()
    return told
