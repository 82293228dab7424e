"""What document 002's code prints while it trains its 5→3 logistic layer, from a real trainer on a throwaway model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..config import LiveSettings, RunConfig, changed
from ..text.points import Points
from ..training.trainer import STAGES, Trainer

NEVER = 1_000_000_000


@dataclass(frozen=True, eq=False)
class PrintedStep:
    """One step between `backward` and the update: z (3,), w_grad (5, 3), b_grad (3,), loss in nats."""

    step: int
    z: Tensor
    loss: float
    w_grad: Tensor
    b_grad: Tensor

    def __str__(self) -> str:
        """As the document's loop prints it; it counts steps from 0."""
        return f"Training step {self.step}:\n{self.w_grad}\n{self.b_grad}"


def record_steps(config: RunConfig, settings: LiveSettings, steps: int) -> list[PrintedStep]:
    """Train the logistic layer of `config` for `steps` steps on the CPU and return what each step printed."""
    config = changed(config, observe_every=NEVER)  # the values are read below, no probe is needed
    trainer = Trainer(config, settings, Points.of(config), lambda _: None)
    w, b = (dict(trainer.model.named_parameters())[name] for name in ("w", "b"))
    printed: list[PrintedStep] = []
    for step in range(steps):
        for _ in range(STAGES.index("backward") + 1):
            trainer.stage()
        assert w.grad is not None and b.grad is not None
        z = trainer.logits.detach()[0].clone()
        printed.append(PrintedStep(step, z, trainer.loss.item(), w.grad.clone(), b.grad.clone()))
        trainer.advance()
    return printed
