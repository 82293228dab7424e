"""When a run's snapshots are taken.

On the training thread, between two steps; the writing is the store's.
"""

from __future__ import annotations

import math

from engine.store import Store
from engine.trainer import EARLY, Trainer


class Keeping:
    """Takes snapshots of a trainer: at once, at early steps, then every `every` steps."""

    def __init__(self, store: Store, every: int) -> None:
        self._store, self._every = store, every
        self._last: int | None = None
        self._best = math.inf

    def keep(self, trainer: Trainer) -> int:
        """Take a snapshot now; returns the step at which the next one is due."""
        self._take(trainer)
        if trainer.step < self._every:
            return min((early for early in EARLY if trainer.step < early < self._every), default=self._every)
        return (trainer.step // self._every + 1) * self._every

    def end(self, trainer: Trainer) -> None:
        """Take the last one, unless it is there already, or the run stands inside a step."""
        if trainer.step != self._last and not trainer.stages_done:
            self._take(trainer)

    def _take(self, trainer: Trainer) -> None:
        trainer.settle()
        if trainer.ledger.diverged or trainer.stages_done:
            return
        loss = trainer.val_loss
        best = loss is not None and loss < self._best
        if best and loss is not None:
            self._best = loss
        self._last = trainer.step
        self._store.keep(trainer.snapshot(), best=best)
