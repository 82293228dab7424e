"""Batches by epochs: windows side by side, each once an epoch, in a new order every time.

Knows nothing of models or runs. Shapes: n tokens, W windows of T = block_size tokens, B windows in a batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def windows_in(tokens: int, block_size: int) -> int:
    """How many windows of `block_size` tokens and their targets, one token later, lie side by side in `tokens`."""
    return max(0, (tokens - 1) // block_size)


class EpochBatcher:
    """A shuffled loader over one split; made once for a run, called at every step.

    data: int tensor [n] on any device. At the start of each epoch `generator`, on the CPU, gives the order of the
    windows (`torch.randperm(W)`); each step takes the next B of them. An epoch ends with the step after which fewer
    than B are left: those are dropped, and come up in other epochs. B may change at any step: it holds from the next
    batch on, still each window at most once an epoch; the last batch is smaller where B was raised above what is left.
    """

    def __init__(self, data: Tensor, block_size: int, generator: torch.Generator) -> None:
        self.windows = windows_in(len(data), block_size)
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
    def left(self) -> int:
        """Windows of this epoch that are still to come; 0 between two epochs."""
        return len(self._order) - self._at

    def draw(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """One batch: (inputs, targets), int64 (B, T) each, on the data's device."""
        if not self.left:
            self.epoch += 1
            self._order, self._at = torch.randperm(self.windows, generator=self._generator), 0
        rows = self._order[self._at : self._at + batch_size].to(self._inputs.device)  # (B,)
        self._at += len(rows)
        if self.left < batch_size:
            self._at = len(self._order)
        return self._inputs[rows].long(), self._targets[rows].long()

    def state(self) -> dict[str, Tensor]:
        """Where it stands, as tensors of its own; its generator's state not included."""
        return {"order": self._order.clone(), "place": torch.tensor([self.epoch, self._at])}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Stand where a batcher over the same windows stood."""
        self._order = state["order"].clone()
        self.epoch, self._at = state["place"].tolist()
