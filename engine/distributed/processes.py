"""The processes that train one run together, by torch.distributed: gloo on CPUs, NCCL on GPUs.

Each process holds the whole model, draws the whole batch of a step and works on its own share of the windows. The
gradients and the loss of all shares are added up, so each process makes the same update: that of one process with the
whole batch, up to the order in which numbers are added. Before each step the first process says with which settings it
is made; so a knob turns in all of them between the same two steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import InputError
from .place import Place, ProcessLost, place_here

Thing = TypeVar("Thing")

SAME, NEW, CHECK, END = range(4)
"""What the first process says before a step: as before; something new follows; who is there?; there is no more."""
LONG = timedelta(days=365)
"""How long the others wait for its next word: a run may be paused for days."""


class AllDone(Exception):
    """The first process says that there are no more steps."""


class Processes:
    """The processes of one run; this one is number `rank` of `size`.

    ProcessLost from any method that talks to the others, where one of them is gone.
    """

    def __init__(self, place: Place) -> None:
        """Meet the others; returns when all are there."""
        self.rank, self.size, self.local_rank, self.local_size = place
        on_gpus = torch.cuda.is_available() and dist.is_nccl_available()
        if on_gpus and self.local_rank < torch.cuda.device_count():
            torch.cuda.set_device(self.local_rank)
        self.broken = False
        """Is there no more talk, since one is lost or the first one failed within a step?"""
        self._together(dist.init_process_group, "cpu:gloo,cuda:nccl" if on_gpus else "gloo")
        self._words = self._together(dist.new_group, backend="gloo", timeout=LONG)
        self._word = torch.zeros(1, dtype=torch.int64)
        self._said: Any = None

    def check(self, batch_size: int | None, device: torch.device) -> None:
        """InputError where a process would have no window of a batch, or no GPU of its own."""
        if batch_size is not None and batch_size < self.size:
            raise InputError(
                f"batch_size {batch_size} is smaller than the {self.size} processes that share it; choose at least "
                f"{self.size}, or start fewer processes"
            )
        if device.type == "mps":
            raise InputError(
                f"device 'mps' does not go with {self.size} processes, which it has no way to talk for; choose cpu, or "
                "start one process"
            )
        if device.type == "cuda" and self.local_size > (gpus := torch.cuda.device_count()):
            raise InputError(
                f"{self.local_size} processes on this machine are more than its {gpus} GPUs; start at most {gpus} "
                "here (--nproc-per-node), or choose device cpu"
            )

    # ---------------------------------------------------------------- in each step

    def agree(self, thing: Thing) -> Thing:
        """What the first process has as `thing`, in all of them: what is the same as last time does not travel.

        AllDone in the others when the first one leaves.
        """
        if self.rank == 0:
            self._say(SAME if thing is self._said else NEW)
            if thing is not self._said:
                self._pass_on(thing)
                self._said = thing
            return thing
        while (word := self._listen()) == CHECK:
            self._together(dist.barrier, self._words)
        if word == END:
            raise AllDone
        if word == NEW:
            thing = self._pass_on(thing)
        return thing

    def share(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, float]:
        """Of a batch the windows of this process, and their share of the whole, 0 to 1.

        The first processes take one more where they do not come out even. Where there are fewer windows than processes
        the last ones work on a window that counts nothing.
        """
        mine = slice(*self._bounds(len(inputs)))
        share = (mine.stop - mine.start) / len(inputs)
        return (inputs[mine], targets[mine], share) if share else (inputs[-1:], targets[-1:], 0.0)

    def _bounds(self, windows: int) -> tuple[int, int]:
        each, more = divmod(windows, self.size)
        first = self.rank * each + min(self.rank, more)
        return first, first + each + (self.rank < more)

    def add_up(self, loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """Replace each gradient by its sum over all processes; returns the sum of `loss`, a scalar, without a graph."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([loss.detach().reshape(1), *(gradient.reshape(-1) for gradient in gradients)])
        self._together(dist.all_reduce, flat)
        total, *sums = torch.split(flat, [1, *(gradient.numel() for gradient in gradients)])
        for gradient, summed in zip(gradients, sums, strict=True):
            gradient.copy_(summed.view_as(gradient))
        return total[0]

    # ---------------------------------------------------------------- between two steps

    def see_all(self) -> None:
        """In the first process: ProcessLost unless all the others are there."""
        self._say(CHECK)
        self._together(dist.barrier, self._words)

    def leave(self) -> None:
        """Part from the others; the first process tells them that there is no more to do.

        After a break they see it when this process ends: they may wait in the middle of a step, and hear no word.
        """
        if not self.broken:
            with suppress(ProcessLost):
                if self.rank == 0:
                    self._say(END)
                dist.destroy_process_group()

    # ---------------------------------------------------------------- inside

    def _say(self, word: int) -> None:
        self._word[0] = word
        self._together(dist.broadcast, self._word, 0, self._words)

    def _listen(self) -> int:
        self._together(dist.broadcast, self._word, 0, self._words)
        return int(self._word)

    def _pass_on(self, thing: Thing) -> Thing:
        """From the first process to all; what torchrun connects trusts each other, so it may travel pickled."""
        box = [thing]
        self._together(dist.broadcast_object_list, box, 0, self._words, torch.device("cpu"))
        return box[0]

    def _together(self, talk: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return talk(*arguments, **options)
        except RuntimeError as error:
            self.broken = True
            raise ProcessLost(
                f"one of the {self.size} processes that train this run has ended or cannot be reached (torchrun says "
                "which one); `resume` goes on from the newest snapshot, with as many processes as you like"
            ) from error


@contextmanager
def together(environment: Mapping[str, str] = os.environ) -> Iterator[Processes | None]:
    """Within it the processes of a run are connected; None where this one trains alone. InputError, ProcessLost."""
    place = place_here(environment)
    if place is None:
        yield None
        return
    processes = Processes(place)
    try:
        yield processes
    finally:
        processes.leave()
