"""When a run's snapshots are taken: on the training thread, between two steps. The store writes them."""

from __future__ import annotations

import math

import torch

from ..errors import machine_trouble, print_error
from ..storage.writer import RunWriter
from ..stream.messages import Observation
from ..training.device import free_memory
from ..training.observer import EARLY_STEPS
from ..training.state import take_snapshot
from ..training.trainer import Trainer

LARGE = 200_000_000  # bytes: no early snapshots of a model so large, each would take seconds and its whole size again


class CheckpointPolicy:
    """Takes snapshots of a trainer: at once, at early steps, then every `every` steps, and at each best validation.

    Of a large model only those every `every` steps and the last. `best` is the lowest loss so far and its step.
    One that cannot be taken is told as the store's problem and tried again a tenth of `every` later; the run goes on.
    """

    def __init__(self, store: RunWriter, every: int, best: tuple[float, int] | None = None) -> None:
        self.due_at = 0
        """The step from which the next snapshot is due."""
        self._store, self._every = store, every
        self._last: int | None = None
        self._best = math.inf
        self._best_at: int | None = None
        if best is not None:
            self._best, store.best = best

    def note_validation(self, observation: Observation) -> None:
        """With the lowest validation loss so far a snapshot is due now."""
        loss = observation.scalars.get("val/loss", math.inf)
        if loss < self._best:
            self._best, self._best_at = loss, observation.step
            self.due_at = observation.step

    def save(self, trainer: Trainer) -> None:
        """Take the snapshot that is due."""
        every, large = self._every, size_of(trainer) > LARGE
        if not large or trainer.step // every > (self._last or 0) // every:
            self._save(trainer)
        self.due_at = (trainer.step // every + 1) * every
        if not large and trainer.step < every:
            self.due_at = min((early for early in EARLY_STEPS if trainer.step < early < every), default=every)
        if self._store.untaken is not None:
            self.due_at = min(self.due_at, trainer.step + max(1, every // 10))

    def save_last(self, trainer: Trainer) -> None:
        """Take the last one, unless it is there already, or the run stands inside a step."""
        if trainer.step != self._last and not trainer.stages_done:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.settle()
        if trainer.recorder.diverged or trainer.stages_done:
            return
        try:
            why = self._lacks_memory(size_of(trainer))
            if why is None:
                self._store.save_snapshot(take_snapshot(trainer), best=self._best_at == trainer.step)
                self._last = trainer.step
        except Exception as error:  # a snapshot is not the training, which goes on
            why = machine_trouble(error)
            if why is None:
                print_error(error)
                why = type(error).__name__
        self._store.untaken = None if why is None else f"no snapshot at step {trainer.step:,}: {why}"

    @staticmethod
    def _lacks_memory(size: int) -> str | None:
        """Why a copy of `size` bytes would be too much now; a small one is taken where the system does not say."""
        free = free_memory(torch.device("cpu"))
        if free is None:
            return "the free memory cannot be seen" if size > LARGE else None
        return f"its copy of {size / 1e9:.1f} GB needs more memory" if size > free / 2 else None


def size_of(trainer: Trainer) -> int:
    """About the bytes of a snapshot: the weights, and two moments of each."""
    return 3 * sum(parameter.nbytes for parameter in trainer.parameters)
