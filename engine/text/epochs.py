"""Batches by epochs: adjacent windows, each used once an epoch, in a new random order every epoch.

Shapes: n tokens, W windows of T = block_size tokens, B windows in a batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def window_count(tokens: int, block_size: int) -> int:
    """How many adjacent windows of `block_size` tokens, with targets one token later, fit into `tokens`."""
    return max(0, (tokens - 1) // block_size)


class EpochBatcher:
    """A shuffled loader over one split; made once for a run, called at every step.

    data: int tensor [n] on any device. At the start of each epoch `generator`, on the CPU, gives the order of the
    windows (`torch.randperm(W)`); each step takes the next B of them. An epoch ends when fewer than B are left; those
    are dropped in this epoch. B may change at any step and applies from the next batch on; each window is still used at
    most once an epoch. If B is raised above the number of windows left, the last batch is smaller.
    """

    def __init__(self, data: Tensor, block_size: int, generator: torch.Generator) -> None:
        self.windows = window_count(len(data), block_size)
        if self.windows < 1:
            raise ValueError(f"{len(data)} tokens are too few for a window of {block_size} + 1")
        used = self.windows * block_size
        self._inputs = data[:used].view(-1, block_size)  # (W, T)
        self._targets = data[1 : used + 1].view(-1, block_size)  # (W, T), one token later
        self._generator = generator
        self._order = torch.empty(0, dtype=torch.int64)
        self._at = 0
        self.epoch = 0
        """The epoch of the last batch, counted from 1; 0 before the first batch."""

    @property
    def windows_left(self) -> int:
        """Windows of this epoch still to be used; 0 between two epochs."""
        return len(self._order) - self._at

    def draw(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """One batch: (inputs, targets), int64 (B, T) each, on the data's device."""
        if not self.windows_left:
            self.epoch += 1
            self._order, self._at = torch.randperm(self.windows, generator=self._generator), 0
        rows = self._order[self._at : self._at + batch_size].to(self._inputs.device)  # (B,)
        self._at += len(rows)
        if self.windows_left < batch_size:
            self._at = len(self._order)
        return self._inputs[rows].long(), self._targets[rows].long()

    def state(self) -> dict[str, Tensor]:
        """Its position as copied tensors, without the generator's state."""
        return {"order": self._order.clone(), "place": torch.tensor([self.epoch, self._at])}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the position of a batcher over the same windows."""
        self._order = state["order"].clone()
        self.epoch, self._at = state["place"].tolist()
