"""A run's losses and pace, added up from its records while it trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..stream.messages import Observation, Record, Scalars

WARM = 100  # steps before the pace counts
SHORTEST_WALL = 0.2  # seconds; between polls a few milliseconds apart the pace is too inexact


@dataclass
class RunTotals:
    """Losses and pace of a run so far, added up from its records. Losses are in nats per token."""

    initial_loss: float | None = None
    loss: float | None = None
    val_loss: float | None = None
    former_val_loss: float | None = None
    best_val_loss: float | None = None
    best_val_step: int | None = None
    test_step: int | None = None
    """The step whose weights were tested."""
    test_loss: float | None = None
    steps: int = 0
    seconds: float = 0.0  # these steps' own times; both start again at step 101
    warm: tuple[float, int] | None = None  # time and step at which the pace begins to count
    last: tuple[float, int] = (0.0, 0)

    def add(self, records: Iterable[Record]) -> None:
        """Add what came out of the run's queue."""
        for record in records:
            if isinstance(record, Scalars):
                if self.initial_loss is None:
                    self.initial_loss = record.loss
                if record.step == WARM + 1:
                    self.steps, self.seconds = 0, 0.0
                self.loss = record.loss
                self.steps += 1
                self.seconds += record.seconds
            elif isinstance(record, Observation):
                self._add_losses(record.step, record.scalars)

    def _add_losses(self, step: int, scalars: Mapping[str, float]) -> None:
        self.test_loss = scalars.get("test/loss", self.test_loss)
        if "test/step" in scalars:
            self.test_step = int(scalars["test/step"])
        self.former_val_loss = scalars.get("val/former_loss", self.former_val_loss)
        if "val/loss" in scalars:
            self.val_loss = scalars["val/loss"]
            if self.best_val_loss is None or self.val_loss < self.best_val_loss:
                self.best_val_loss, self.best_val_step = self.val_loss, step

    def reached(self, now: float, step: int) -> None:
        """Note that `step` updates are made at `now`, in seconds of any clock."""
        self.last = (now, step)
        if self.warm is None and step >= WARM:
            self.warm = self.last

    @property
    def progress_note(self) -> str:
        """What the progress bar says beside the step."""
        return "" if self.loss is None else f"loss {self.loss:.4f}"

    @property
    def steps_per_second(self) -> float | None:
        """Steps by wall time from the 100th to the last; of a short run, by the steps' own times."""
        if self.warm is not None and (wall := self.last[0] - self.warm[0]) > SHORTEST_WALL:
            return (self.last[1] - self.warm[1]) / wall
        return self.steps / self.seconds if self.seconds else None
