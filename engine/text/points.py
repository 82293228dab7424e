"""Training data of a few numbers, so small that every batch is all of them.

The line's points are written as text, "1,3 2,5 3,7", so that a link can carry them.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import RunConfig
from ..errors import InputError
from ..models import registry

MOST_POINTS = 100
LARGEST = 1e6


@dataclass(frozen=True, eq=False)
class Points:
    """inputs (n, d) and targets (n, k), float32 on the CPU."""

    name: str
    title: str
    inputs: Tensor
    targets: Tensor

    vocab_size = 0
    highest_loss = math.inf
    """No loss of such a small model counts as absurd."""

    @classmethod
    def of(cls, config: RunConfig) -> Points:
        """The examples that the model of `config` learns from; InputError for bad points."""
        if (fixed := registry.find(config.model).examples()) is not None:
            return cls(*fixed)
        pairs = read_points(config.points)
        x, y = torch.tensor(pairs).unbind(1)
        return cls("points", f"{len(pairs)} points", x.unsqueeze(1), y.unsqueeze(1))

    @property
    def sha256(self) -> str:
        """Of all numbers, to tell sets of points apart."""
        return hashlib.sha256(self.inputs.numpy().tobytes() + self.targets.numpy().tobytes()).hexdigest()

    def check(self, config: RunConfig) -> None:
        """Always passes: points that could be read can be trained on."""

    def batcher(self, config: RunConfig, draws: torch.Generator, device: torch.device) -> AllPoints:
        """A batcher that returns all points at each step."""
        return AllPoints(self.inputs.to(device), self.targets.to(device))

    def val_batches(self, config: RunConfig, batch_size: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
        """No batches: a few points leave nothing to validate on."""
        return []

    def train_batches(self, config: RunConfig, batch_size: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
        """No batches: each step's own loss is already on all points."""
        return []


class AllPoints:
    """A batcher without randomness: each batch is all points."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self._both = inputs, targets

    def draw(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """All inputs (n, d) and targets (n, k), whatever `batch_size` says."""
        return self._both


def read_points(text: str) -> list[tuple[float, float]]:
    """ "1,3 2,5" as pairs; InputError names the piece that is no point, or says that there are too few or too many."""
    pairs: list[tuple[float, float]] = []
    for piece in text.split():
        try:
            x, y = (float(number) for number in piece.split(","))
        except ValueError:
            raise InputError(f"{piece[:40]!r} is not a point; write x,y, as in 1,3 2,5 3,7") from None
        if not (abs(x) <= LARGEST and abs(y) <= LARGEST):
            raise InputError(f"the point {piece[:40]!r} is too far out; both numbers must be at most {LARGEST:,.0f}")
        pairs.append((x, y))
    if not 1 <= len(pairs) <= MOST_POINTS:
        raise InputError(f"{len(pairs)} points are not possible; give at least 1 and at most {MOST_POINTS}")
    return pairs


def write_points(pairs: list[tuple[float, float]]) -> str:
    """Pairs as text for `read_points`, with nine digits, which is all that float32 can distinguish."""
    return " ".join(f"{x:.9g},{y:.9g}" for x, y in pairs)
