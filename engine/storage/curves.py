"""A stored run's losses as curves, by step, by token or by second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..config import LiveSettings, RunConfig
from ..stream.messages import EACH_STEP, Event, Observation, Turn
from . import reader
from .index import Overview, Stamp
from .metrics.reader import VAL_LOSS, open_metrics

By = Literal["steps", "tokens", "seconds"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curves:
    """n steps with a finite loss, and m validation losses; losses in the run's own unit.

    `damaged` is how many blocks of steps could not be read and are left out.
    """

    steps: Floats  # (n,)
    loss: Floats  # (n,)
    grad_norm: Floats  # (n,)
    val_steps: Floats  # (m,)
    val_loss: Floats  # (m,)
    events: tuple[Event, ...]
    damaged: int
    own: Mapping[str, tuple[Floats, Floats]]
    """Of a recorded run each number of its own by name: (j,) steps and (j,) finite values."""
    _seconds: Floats  # (n,): the steps' own times, summed
    _knots: tuple[Floats, Floats]  # (k,), (k,): tokens seen after some steps; between them they grow evenly

    def along(self, by: By, steps: Floats) -> Floats:
        """Where steps [k] lie on an axis that counts steps, tokens seen, or seconds of training; nan if unknown."""
        if by == "tokens":
            if not len(self._knots[0]):
                return np.full(len(steps), np.nan)
            along = np.interp(steps, *self._knots)
        elif by == "seconds" and len(self.steps):
            along = np.interp(steps, np.append(0.0, self.steps), np.append(0.0, self._seconds))
        else:
            along = steps
        return np.asarray(along, np.float64)


def curves(shown: Overview) -> Curves:
    """The curves of a run that can be opened; MetricsError or ValueError where its metrics are damaged after all."""
    return _curves(shown.run.folder, shown.stamp)


@lru_cache(maxsize=8)  # a million steps are 32 MB
def _curves(folder: Path, stamp: Stamp) -> Curves:
    run = reader.read_run(folder)
    with open_metrics(folder) as metrics:
        blocks = [np.empty((0, 5)), *(np.column_stack((block.steps, block.numbers)) for block in metrics.step_blocks())]
        val_losses = metrics.val_losses()
        events = tuple(metrics.events())
        turns = list(metrics.turns())
        own = {} if run.recorded is None else _own_numbers(metrics.observations())
        damaged = metrics.damaged["steps"]
    rows = np.concatenate(blocks)
    last = float(rows[-1, 0]) if len(rows) else 0.0
    seconds = np.cumsum(rows[:, 4])
    finite = np.isfinite(rows[:, 1])
    steps, loss, grad_norm = rows[finite, 0], rows[finite, 1], rows[finite, 2]
    val = np.array([row for row in val_losses if np.isfinite(row[1])], np.float64).reshape(-1, 2)
    knots = (np.empty(0), np.empty(0))
    if run.config is not None and run.first_settings is not None and run.config.reads_text:
        knots = tokens_after(run.config, run.first_settings, turns, last)
    return Curves(steps, loss, grad_norm, val[:, 0], val[:, 1], events, damaged, own, seconds[finite], knots)


def _own_numbers(looks: Iterable[Observation]) -> dict[str, tuple[Floats, Floats]]:
    points: dict[str, list[tuple[int, float]]] = {}
    for look in looks:
        for name, value in look.scalars.items():
            if name != VAL_LOSS and name not in EACH_STEP and np.isfinite(value):
                points.setdefault(name, []).append((look.step, value))
    columns = {name: np.array(rows, np.float64) for name, rows in points.items()}
    return {name: (rows[:, 0], rows[:, 1]) for name, rows in columns.items()}


def tokens_after(config: RunConfig, first: LiveSettings, turns: Iterable[Turn], last: float) -> tuple[Floats, Floats]:
    """Tokens seen by a run on a text after step 0, after each change of the settings, and after step `last`."""
    per_example, batch = config.block_size, first.batch_size
    steps, tokens = [0.0], [0.0]

    def add(step: float) -> None:
        tokens.append(tokens[-1] + (step - steps[-1]) * batch * per_example)
        steps.append(float(step))

    for turn in turns:
        if turn.step > last:  # an interrupted run keeps what was turned after the step that it goes on from
            break
        size = turn.settings.get("batch_size")
        if type(size) is int and size != batch:
            add(turn.step)
            batch = size
    add(last)
    return np.array(steps), np.array(tokens)
