"""A stored run's losses as curves, by step, by token or by second. Knows no chart and no screen."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..config import LiveSettings, RunConfig
from ..stream.messages import Event
from ..text.points import Points
from . import reader
from .index import MANGLED, Overview, Stamp
from .metrics import reading, unpacked
from .reader import BLOCKS

By = Literal["steps", "tokens", "seconds"]
Floats = NDArray[np.float64]
TURN = re.compile(r"batch_size .* → ([\d,]+)")


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
    """The curves of a run that can be opened; sqlite3.Error or ValueError where its metrics are damaged after all."""
    return _curves(shown.run.folder, shown.stamp)


@lru_cache(maxsize=8)  # a million steps are 32 MB
def _curves(folder: Path, stamp: Stamp) -> Curves:
    run = reader.look(folder)
    with reading(folder) as database:
        blocks, damaged = [np.empty((0, 5))], 0
        for first, count, data in database.execute(BLOCKS):
            try:
                blocks.append(np.column_stack((np.arange(first, first + count), unpacked(count, data))))
            except (zlib.error, *MANGLED):
                damaged += 1
        asked = """SELECT step, scalars FROM looks WHERE instr(scalars, '"val/loss"') ORDER BY step"""
        looks = [(step, json.loads(told)["val/loss"]) for step, told in database.execute(asked)]
        told = "SELECT step, name, text FROM events ORDER BY rowid"
        events = tuple(Event(*row) for row in database.execute(told))
    rows = np.concatenate(blocks)
    last = float(rows[-1, 0]) if len(rows) else 0.0
    seconds = np.cumsum(rows[:, 4])
    finite = np.isfinite(rows[:, 1])
    steps, loss, grad_norm = rows[finite, 0], rows[finite, 1], rows[finite, 2]
    val = np.array([look for look in looks if np.isfinite(look[1])], np.float64).reshape(-1, 2)
    knots = (np.empty(0), np.empty(0))
    if run.config is not None and run.first_settings is not None:
        knots = tokens_after(run.config, run.first_settings, events, last)
    return Curves(steps, loss, grad_norm, val[:, 0], val[:, 1], events, damaged, seconds[finite], knots)


def tokens_after(config: RunConfig, first: LiveSettings, events: Sequence[Event], last: float) -> tuple[Floats, Floats]:
    """Tokens seen (of points: numbers) after step 0, after each change of the batch size, and after the last step."""
    if config.reads_text:
        each, batch = config.block_size, first.batch_size
    else:
        each, batch = Points.of(config).inputs.numel(), 1
    steps, tokens = [0.0], [0.0]
    turns = [(event.step, TURN.fullmatch(event.text)) for event in events if event.name == "batch_size"]
    for step, turn in [*turns, (last, None)]:
        tokens.append(tokens[-1] + (step - steps[-1]) * batch * each)
        steps.append(float(step))
        if turn and config.reads_text:
            batch = int(turn[1].replace(",", ""))
    return np.array(steps), np.array(tokens)
