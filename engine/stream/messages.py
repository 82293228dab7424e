"""What the training thread says of a run: one record for each thing that happened. Plain numbers and CPU arrays."""

from __future__ import annotations

from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Scalars(NamedTuple):
    """What every step leaves: `seconds` is the step's own time, waiting for a speed limit not counted."""

    step: int
    loss: float
    grad_norm: float
    lr: float
    seconds: float


class Observation(NamedTuple):
    """What is measured on a cadence: scalars by channel, tables by channel (rows, cols), float32."""

    step: int
    scalars: Mapping[str, float]
    tables: Mapping[str, Floats]


class Event(NamedTuple):
    """Something happened after `step` updates: a knob moved, the run paused, a warning."""

    step: int
    name: str
    text: str


class Sample(NamedTuple):
    """Generated text; `prompt` characters of it were given, `confidence` has one digit a character ("-": given).

    `lane` counts the lanes of a race from 1; a run by itself has none.
    """

    step: int
    text: str
    prompt: int
    confidence: str
    lane: int = 0


class Turn(NamedTuple):
    """Knobs were turned after `step` updates, with `stages` stages of the next step done: all live settings since."""

    step: int
    stages: int
    settings: Mapping[str, Any]


Record = Scalars | Observation | Event | Sample | Turn
Queue = SimpleQueue[Record]
Item = TypeVar("Item")
EACH_STEP = ("train/loss", "grad_norm", "lr", "step_time")
"""The channels of a step's `Scalars`, in their order behind the step."""


def drain_queue(queue: SimpleQueue[Item]) -> list[Item]:
    """Everything in `queue` now, without waiting."""
    records = []
    try:
        for _ in range(queue.qsize()):
            records.append(queue.get_nowait())
    except Empty:
        pass
    return records
