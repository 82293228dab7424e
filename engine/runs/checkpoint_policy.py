"""When a run's snapshots are taken.

On the training thread, between two steps; the writing is the store's.
"""

from __future__ import annotations

import math

import psutil  # type: ignore[import-untyped]

from ..storage.writer import RunWriter
from ..stream.messages import Observation
from ..training.trainer import EARLY, Trainer

HEAVY = 200_000_000  # bytes: no early snapshots of a model so large, each would take seconds and its whole size again


class CheckpointPolicy:
    """Takes snapshots of a trainer: at once, at early steps, then every `every` steps, and at each best validation.

    Of a heavy one only those every `every` steps and the last. `best` is the lowest loss so far and its step.
    """

    def __init__(self, store: RunWriter, every: int, best: tuple[float, int] | None = None) -> None:
        self._store, self._every = store, every
        self._last: int | None = None
        self._best = math.inf
        self._best_at: int | None = None
        if best is not None:
            self._best, store.best = best

    def is_best(self, seen: Observation) -> bool:
        """Was the lowest validation loss just seen, so that a snapshot is due?"""
        loss = seen.scalars.get("val/loss", math.inf)
        if loss >= self._best:
            return False
        self._best, self._best_at = loss, seen.step
        return True

    def keep(self, trainer: Trainer) -> int:
        """Take a snapshot now; returns the step at which the next one is due."""
        if size_of(trainer) > HEAVY:
            if trainer.step // self._every > (self._last or 0) // self._every:
                self._take(trainer)
            return (trainer.step // self._every + 1) * self._every
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
        if trainer.recorder.diverged or trainer.stages_done:
            return
        if (size := size_of(trainer)) > psutil.virtual_memory().available / 2:
            self._store.missing = (
                f"no snapshot at step {trainer.step:,}: its copy of {size / 1e9:.1f} GB needs more memory"
            )
            return
        self._last = trainer.step
        self._store.save_snapshot(trainer.snapshot(), best=self._best_at == trainer.step)


def size_of(trainer: Trainer) -> int:
    """About the bytes of a snapshot: the weights, and two moments of each."""
    return 3 * sum(parameter.nbytes for parameter in trainer.parameters)
