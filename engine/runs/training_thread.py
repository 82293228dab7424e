"""The training thread: its runs take turns, one step each, and between two rounds it carries out commands.

A run by itself has a thread of its own; the lanes of a race share one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from ..errors import InputError
from ..stream.messages import drain_queue
from .training_loop import TrainingLoop

Answer = TypeVar("Answer")
ENDED = "this run has ended and cannot answer; press Start for a new one"


class TrainingThread(threading.Thread):
    """A thread that trains one run, or several in turn, so that all that still train stand at the same step."""

    def __init__(self, name: str) -> None:
        super().__init__(name=f"training {name}", daemon=True)
        self.closing = threading.Event()
        self._mailbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._loops: Sequence[TrainingLoop] = ()
        self._due = 0.0

    def train(self, *loops: TrainingLoop) -> None:
        """Begin with these runs, which wait until they are told to start."""
        for loop in loops:
            loop.closing, loop.interrupted = self.closing.is_set, self._interrupted
        self._loops = loops
        self.start()

    def tell(self, command: Callable[..., None], *arguments: Any) -> None:
        """Have this called between two rounds; what it raises is the caller's affair."""
        self._mailbox.put(partial(command, *arguments))

    def ask(self, question: Callable[[], Answer], timeout: float) -> Answer:
        """What `question` returns, or raises, when it is called between two rounds.

        InputError if that takes longer than `timeout` seconds, or the thread has ended.
        """
        answer: Future[Answer] = Future()
        if self.closing.is_set():
            raise InputError(ENDED)

        def reply() -> None:
            try:
                if self.closing.is_set():
                    raise InputError(ENDED)
                answer.set_result(question())
            except Exception as error:
                answer.set_exception(error)

        self.tell(reply)
        try:
            return answer.result(timeout)
        except TimeoutError:
            raise InputError(f"the model did not answer within {timeout:g} s; a step takes long, try again") from None

    def close(self, timeout: float | None = None) -> bool:
        """End the thread and wait for it; has it ended?"""
        self.closing.set()
        self.tell(lambda: None)
        if self.ident is not None:  # one that has not begun has nothing to end
            self.join(timeout)
        return not self.is_alive()

    # ---------------------------------------------------------------- on this thread

    def run(self) -> None:
        """Build, then train and carry out commands until closed."""
        for loop in self._loops:
            self._guarded(loop, loop.build)
        self._due = time.perf_counter()
        while not self.closing.is_set():
            self._take_commands()
            advanced = [self._guarded(loop, loop.advance) for loop in self._loops]
            if not any(advanced):
                for loop in self._loops:
                    self._guarded(loop, loop.settle)
                if self.closing.is_set():  # the command that was to wake this thread may have been carried out above
                    break
                self._mailbox.get()()
                self._due = time.perf_counter()
            elif seconds := self._least_seconds():
                self._wait_for_next_round(seconds)
        for loop in self._loops:
            self._guarded(loop, loop.finish)
        for command in drain_queue(self._mailbox):  # whoever waits for an answer gets one
            command()

    def _interrupted(self) -> bool:
        """Asked inside a long beginning: take commands as they come; is it to end?

        Of several runs some may not be built yet, and none of them may begin before the others: theirs wait.
        """
        if len(self._loops) == 1:
            self._take_commands()
        return self.closing.is_set()

    @staticmethod
    def _guarded(loop: TrainingLoop, call: Callable[[], Any]) -> Any:
        """What a run raises ends that run alone."""
        try:
            return call()
        except Exception as error:
            loop.fail(error)

    def _take_commands(self) -> None:
        while not self._mailbox.empty() and not any(loop.stage_is_due for loop in self._loops):
            self._mailbox.get()()

    def _least_seconds(self) -> float:
        return max([loop.least_seconds for loop in self._loops])

    def _wait_for_next_round(self, seconds: float) -> None:
        """Wait until the next round is due by the speed limit, but take commands as they come."""
        now = time.perf_counter()
        self._due = min(max(self._due + seconds, now - seconds), now + seconds)
        while self._least_seconds() == seconds and (left := self._due - time.perf_counter()) > 0:
            try:
                self._mailbox.get(timeout=left)()
            except Empty:
                return
            if self.closing.is_set() or any(loop.stage_is_due for loop in self._loops):
                return
