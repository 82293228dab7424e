"""Where a step's numbers go: straight into the queue on the CPU, through a ring on the device with CUDA.

Both recorders have one interface, so the trainer's step reads the same on either device: `step`, `loss` and
`grad_norm` are those of the last record emitted, and `diverged` says whether that one was bad. On a GPU nothing waits
for the device: loss, norm and the guard's verdict are written into a ring there, and whole blocks are copied to the
host behind the training. The verdict itself never leaves the device in time to be asked, so the fused optimizer obeys
it there (`found_inf`), and the host learns the exact first bad step when the block arrives.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..stream.messages import Record, Scalars

Emit = Callable[[Record], object]


class HostStepRecorder:
    """The CPU's, and that of Apple's GPU: every number is read at once, every verdict is immediate."""

    late = False
    """Does the host learn the numbers of a step only when it is long over?"""

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self.loss = self.grad_norm = math.nan
        self.diverged = False
        self.step = 0

    def check(self, loss: Tensor, grad_norm: Tensor) -> bool:
        """Read a step's scalars; may its update happen?"""
        self.loss, self.grad_norm = loss.item(), grad_norm.item()
        self.diverged = not (math.isfinite(self.loss) and math.isfinite(self.grad_norm))
        return not self.diverged

    def mark_overflow(self, finite: Tensor) -> None:
        """After a risky update: did the weights stay finite?"""
        self.diverged = not finite.item()

    def record(self, step: int, lr: float, seconds: float) -> None:
        """Close step `step`: its record goes into the queue."""
        self.step = step
        self.emit(Scalars(step, self.loss, self.grad_norm, lr, seconds))

    def flush(self, wait: bool = False) -> None:
        """Nothing waits on the CPU."""


class DeviceStepRecorder:
    """The GPU's: a ring of ROWS steps on the device, copied to the host in blocks without waiting."""

    late = True
    ROWS = 64
    SECONDS = 0.05

    def __init__(self, emit: Emit, optimizer: Optimizer, device: torch.device) -> None:
        self.emit = emit
        self.loss = self.grad_norm = math.nan
        self.diverged = False
        self.step = 0
        self._bad = torch.zeros((), device=device)  # sticky: once 1, the fused optimizer withholds every update
        optimizer.found_inf = self._bad  # type: ignore[attr-defined]  # read by torch's fused optimizers
        optimizer.grad_scale = None  # type: ignore[attr-defined]
        self._rings = [torch.zeros(self.ROWS, 3, device=device) for _ in range(2)]
        self._hosts = [torch.zeros(self.ROWS, 3, pin_memory=device.type == "cuda") for _ in range(2)]
        self._steps: list[tuple[int, float, float]] = []
        self._now: tuple[Tensor, Tensor] = (self._bad, self._bad)
        self._waiting: tuple[list[tuple[int, float, float]], Tensor, torch.cuda.Event] | None = None
        self._flushed_at = time.monotonic()

    def check(self, loss: Tensor, grad_norm: Tensor) -> bool:
        """Raise the sticky flag on the device if a scalar is not finite; the optimizer kernel obeys it."""
        self._now = (loss.detach(), grad_norm.detach())
        self._bad.logical_or_(~torch.isfinite(self._now[0] + self._now[1]))
        return True

    def mark_overflow(self, finite: Tensor) -> None:
        """Raise the flag after an update that the weights did not survive."""
        self._bad.logical_or_(~finite)

    def record(self, step: int, lr: float, seconds: float) -> None:
        """Close step `step`: its row goes into the ring, and a full ring begins to cross."""
        torch.stack((*self._now, self._bad), out=self._rings[0][len(self._steps)])
        self._steps.append((step, lr, seconds))
        if len(self._steps) == self.ROWS or time.monotonic() - self._flushed_at > self.SECONDS:
            self.flush()

    def flush(self, wait: bool = False) -> None:
        """Send what the ring holds on its way, and emit the block before it; with `wait`, emit everything."""
        self._receive()
        if self._steps:
            rows = len(self._steps)
            host = self._hosts[0][:rows].copy_(self._rings[0][:rows], non_blocking=True)
            landed = torch.cuda.Event()  # type: ignore[no-untyped-call]
            landed.record()
            self._waiting = (self._steps, host, landed)
            self._steps = []
            self._rings.reverse()
            self._hosts.reverse()
        self._flushed_at = time.monotonic()
        if wait:
            self._receive()

    def _receive(self) -> None:
        if self._waiting is None:
            return
        steps, host, landed = self._waiting
        self._waiting = None
        landed.synchronize()  # the copy began a block ago: as a rule it has long landed
        for (step, lr, seconds), (loss, grad_norm, bad) in zip(steps, host.tolist(), strict=True):
            if self.diverged:
                return
            self.step, self.loss, self.grad_norm, self.diverged = step, loss, grad_norm, bool(bad)
            self.emit(Scalars(step, loss, grad_norm, lr, seconds))


StepRecorder = HostStepRecorder | DeviceStepRecorder
