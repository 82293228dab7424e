"""The training thread: its runs take turns, one step each, and between two rounds it obeys a mailbox.

A run by itself has a loop of its own; the lanes of a race share one. Knows no model.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from ..stream.messages import drain_queue


class Turns(Protocol):
    """What a loop needs of a run; all of it is called on the loop's thread."""

    @property
    def staged(self) -> bool:
        """Does a single stage wait to be made, before any further command?"""

    @property
    def period(self) -> float:
        """Seconds that a step is to take at least, by the speed limit; 0 without one."""

    def build(self) -> None:
        """Make the model and tell the start."""

    def turn(self) -> bool:
        """Make the step or the stage that is due, if one is; was one?"""

    def rest(self) -> None:
        """Nothing is due: have told all that was measured."""

    def finish(self) -> None:
        """The loop ends: keep what is to be kept."""

    def fail(self, error: Exception) -> None:
        """What was asked of it has raised this."""


class TrainingThread(threading.Thread):
    """A thread that trains one run, or several in turn, so that all that still train stand at the same step."""

    def __init__(self, name: str) -> None:
        super().__init__(name=f"training {name}", daemon=True)
        self.closing = threading.Event()
        self._mailbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._runs: Sequence[Turns] = ()
        self._due = 0.0

    def train(self, *runs: Turns) -> None:
        """Begin with these runs, which wait until they are told to start."""
        self._runs = runs
        self.start()

    def tell(self, command: Callable[..., None], *arguments: Any) -> None:
        """Have this called between two rounds; what it raises is the caller's affair."""
        self._mailbox.put(partial(command, *arguments))

    def close(self, timeout: float | None = None) -> bool:
        """End the thread and wait for it; has it ended?"""
        self.closing.set()
        self.tell(lambda: None)
        if self.ident is not None:  # one that has not begun has nothing to end
            self.join(timeout)
        return not self.is_alive()

    def interrupted(self) -> bool:
        """Asked inside a long beginning: take commands as they come; is it to end?

        Of several runs some may not be built yet, and none of them may begin before the others: theirs wait.
        """
        if len(self._runs) == 1:
            self._obey()
        return self.closing.is_set()

    # ---------------------------------------------------------------- on this thread

    def run(self) -> None:
        """Build, then train and obey until closed."""
        for run in self._runs:
            self._guarded(run, run.build)
        self._due = time.perf_counter()
        while not self.closing.is_set():
            self._obey()
            turns = [self._guarded(run, run.turn) for run in self._runs]
            if not any(turns):
                for run in self._runs:
                    self._guarded(run, run.rest)
                if self.closing.is_set():  # what was put to wake this thread may have been taken above
                    break
                self._mailbox.get()()
                self._due = time.perf_counter()
            elif period := self._period():
                self._keep_to(period)
        for run in self._runs:
            self._guarded(run, run.finish)
        for command in drain_queue(self._mailbox):  # whoever waits for an answer gets one
            command()

    @staticmethod
    def _guarded(run: Turns, part: Callable[[], Any]) -> Any:
        """What a run raises ends that run alone."""
        try:
            return part()
        except Exception as error:
            run.fail(error)

    def _obey(self) -> None:
        while not self._mailbox.empty() and not any(run.staged for run in self._runs):
            self._mailbox.get()()

    def _period(self) -> float:
        return max([run.period for run in self._runs])

    def _keep_to(self, period: float) -> None:
        """Wait until the next round is due by the speed limit, but take commands as they come."""
        now = time.perf_counter()
        self._due = min(max(self._due + period, now - period), now + period)
        while self._period() == period and (left := self._due - time.perf_counter()) > 0:
            try:
                self._mailbox.get(timeout=left)()
            except Empty:
                return
            if self.closing.is_set() or any(run.staged for run in self._runs):
                return
