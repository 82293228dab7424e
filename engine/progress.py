"""Long work: how far it is, how to end it early, and one thread for all who wait for the same.

Knows nothing of runs or texts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Generic, NamedTuple, TypeVar

from .errors import InputError

T = TypeVar("T")

Report = Callable[[str, int, int], None]
"""report(what, done, total): called by long work as it goes on; `total` is 0 where it is not known.

An exception that it raises ends the work.
"""


class Cancelled(InputError):
    """Somebody ended this work early, or nobody waits for it any more."""


class Stage(NamedTuple):
    """How far long work is: what it does now, how much of it is done, and of how much (0: not known)."""

    what: str
    done: int
    total: int

    @property
    def share(self) -> float:
        """From 0 to 1; 0 where the total is not known."""
        return min(1.0, self.done / self.total) if self.total else 0.0


def unheard(what: str, done: int, total: int) -> None:
    """A report that nobody listens to."""


class Job(Generic[T]):
    """Work in a thread of its own, for one or several who wait. It ends early once all who joined have left."""

    def __init__(self, work: Callable[[Report], T], ended: Callable[[], None] = lambda: None) -> None:
        self.stage = Stage("waiting", 0, 0)
        self.began = time.monotonic()
        self._work, self._ended = work, ended
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._waiting = 0
        self._cancelled = False
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="long work", daemon=True)

    def start(self) -> Job[T]:
        """Begin; returns the job itself."""
        self._thread.start()
        return self

    @property
    def done(self) -> bool:
        """Has it ended, well or not?"""
        return self._done.is_set()

    @property
    def cancelled(self) -> bool:
        """Was it told to end early?"""
        return self._cancelled

    def join(self) -> bool:
        """Wait for it from now on, until `leave`; False where it has been cancelled, and a new job is needed."""
        with self._lock:
            if self._cancelled:
                return False
            self._waiting += 1
            return True

    def leave(self) -> None:
        """Wait no longer. If nobody else does, the work ends at its next report."""
        with self._lock:
            self._waiting -= 1
            self._cancelled |= self._waiting <= 0 and not self.done

    def cancel(self) -> None:
        """End at the next report, whoever waits."""
        with self._lock:
            self._cancelled |= not self.done

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, at most `timeout` seconds; returns whether it has."""
        return self._done.wait(timeout)

    def result(self) -> T:
        """What came out, after waiting for it; raises what the work raised, `Cancelled` if it was ended early."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def follow(self, report: Report, every: float = 0.1) -> T:
        """The result; meanwhile `report` is told how far it is, and may raise to wait no longer.

        every: seconds between two reports.
        """
        while not self._done.wait(every):
            report(*self.stage)
        return self.result()

    def _run(self) -> None:
        try:
            self._result = self._work(self._report)
        except BaseException as error:  # handed to whoever waits
            self._error = error
        self._done.set()
        self._ended()

    def _report(self, what: str, done: int, total: int) -> None:
        if self._cancelled:
            raise Cancelled(f"{what} was cancelled; begin again whenever you like")
        self.stage = Stage(what, done, total)


class Jobs:
    """The jobs under way, one for each key: who asks for the same thing waits for the same work."""

    def __init__(self) -> None:
        self._jobs: dict[Hashable, Job[Any]] = {}
        self._lock = threading.Lock()

    def joined(self, key: Hashable, work: Callable[[Report], T]) -> Job[T]:
        """The job under way for `key`, or a new one that does `work`; the caller has joined it, and leaves it."""
        with self._lock:
            job = self._jobs.get(key)
            if job is None or job.done or not job.join():
                job = self._jobs[key] = Job(work, self._forget_ended)
                job.join()
                job.start()
            return job

    def close(self, timeout: float) -> bool:
        """Cancel all; False if one has not ended after `timeout` seconds."""
        with self._lock:
            under_way = list(self._jobs.values())
        for job in under_way:
            job.cancel()
        end = time.monotonic() + timeout
        return all(job.wait(max(0.0, end - time.monotonic())) for job in under_way)

    def _forget_ended(self) -> None:
        with self._lock:
            self._jobs = {key: job for key, job in self._jobs.items() if not job.done}
