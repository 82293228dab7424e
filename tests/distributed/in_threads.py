"""Several processes of one run as threads of one process: what they say to each other crosses between threads."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from engine.cli.worker import make_steps
from engine.distributed.processes import AllDone, Processes


class Meeting:
    """Where the threads meet: each lays down what it has, and takes what it is to have."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=60)
        self.laid: list[Any] = [None] * size

    def exchange(self, rank: int, thing: Any) -> list[Any]:
        """What all of them brought, in the order of the ranks."""
        self.laid[rank] = thing
        self.barrier.wait()
        brought = list(self.laid)
        self.barrier.wait()
        return brought


class InThreads(Processes):
    """One of several processes, as a thread."""

    def __init__(self, rank: int, size: int, meeting: Meeting) -> None:
        self.rank, self.size, self.local_rank, self.local_size = rank, size, rank, size
        self.broken, self._said, self._words, self._word = False, None, None, torch.zeros(1, dtype=torch.int64)
        self.meeting = meeting
        self.said = 0
        """How many objects this one has passed on."""

    def _together(self, talk: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if talk is dist.all_reduce:
            brought = self.meeting.exchange(self.rank, arguments[0].clone())
            arguments[0].copy_(torch.stack(brought).sum(0))
        elif talk is dist.broadcast:
            arguments[0].copy_(self.meeting.exchange(self.rank, arguments[0].clone())[0])
        elif talk is dist.broadcast_object_list:
            self.said += 1
            arguments[0][:] = pickle.loads(pickle.dumps(self.meeting.exchange(self.rank, arguments[0][:])[0]))
        elif talk is dist.barrier:
            self.meeting.exchange(self.rank, None)

    def leave(self) -> None:
        """The first one lets the others go."""
        if self.rank == 0:
            self._say(3)


@contextmanager
def workers_beside(size: int) -> Iterator[InThreads]:
    """The first of `size` processes; the others work in threads until the end of the block."""
    meeting, errors, interval = Meeting(size), [], sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # they meet many times in a step

    def work(rank: int) -> None:
        try:
            make_steps(InThreads(rank, size, meeting))
        except AllDone:
            pass
        except BaseException as error:
            errors.append(error)
            meeting.barrier.abort()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(1, size)]
    for thread in threads:
        thread.start()
    first = InThreads(0, size, meeting)
    try:
        yield first
        first.leave()
    except BaseException:
        meeting.barrier.abort()
        raise
    finally:
        for thread in threads:
            thread.join(60)
        sys.setswitchinterval(interval)
        if errors:
            raise errors[0]
