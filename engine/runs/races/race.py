"""A race: two to eight runs from one start, each with its own change, trained in turn on one thread.

All lanes that still train are at the same step; one that diverges or fails stops alone. Each lane is a run with a
folder of its own, bit for bit the same as that run trained by itself. The race's own history shows them together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from ...config import RunConfig, changed
from ...storage.writer import new_run_id
from ...stream.messages import Queue
from ...stream.status import ENDED, RunStatus, State
from ...text.corpus import Corpus
from ...text.points import Points
from ..run import Run
from ..training_thread import TrainingThread
from .history import RaceHistory

STATE_ORDER = (State.RUNNING, State.PAUSED, State.READY, State.DONE, State.STOPPED, State.DIVERGED, State.FAILED)
"""The race is in the first of these states that one of its lanes is in."""


class Race:
    """Lanes on one thread: started, paused, stopped and stepped as one. `max_steps` and `speed` are the race's."""

    store = folder = None  # each lane has its own

    def __init__(self, thread: TrainingThread, lanes: Sequence[Run], names: Sequence[str]) -> None:
        self.id = new_run_id()
        self.lanes, self.names = tuple(lanes), tuple(names)
        self.settings, self.version = lanes[0].settings, 0
        self.queue: Queue = SimpleQueue()
        self.drain_lock = threading.Lock()
        self.forked = lanes[0].parent is not None
        self.first_step = max((lane.step for lane in lanes), default=0)
        self.records = RaceHistory(lanes, names, self.first_step)
        self.history = self.records.history
        self._thread = thread
        self._trains_on = False
        """Is it to train once its lanes are where they begin?"""

    # ---------------------------------------------------------------- asked by anyone

    def begin(self, steps: int | None = None) -> None:
        """Build the lanes and start them; or make so many `steps`, then pause."""
        if steps is None:
            self.start()
        else:
            self.make_steps(steps)
        self._thread.train(*[lane.loop for lane in self.lanes])

    def start(self) -> None:
        """Train all lanes that can."""
        self._trains_on = True
        self._tell_all(Run.start)

    def pause(self) -> None:
        """Pause after the round under way."""
        self._trains_on = False
        self._tell_all(Run.pause)

    def stop(self) -> None:
        """End the race after the round under way."""
        self._trains_on = False
        self._tell_all(Run.stop)

    def make_steps(self, count: int) -> None:
        """Make `count` steps in each lane, then pause."""
        self._trains_on = True
        self._tell_all(Run.make_steps, count)

    def tune(self, **changes: Any) -> None:
        """Change `max_steps` or `speed` of all lanes, between two rounds; InputError for an impossible value."""
        settings = changed(self.settings, **changes)
        if settings != self.settings:
            self.settings = settings
            self.version += 1
            self._tell_all(lambda lane: lane.tune(changed(lane.settings, **changes)))

    def _tell_all(self, verb: Callable[..., None], *arguments: Any) -> None:
        """Call `verb` with every lane between two rounds, so that no lane is a step ahead of the others."""

        def tell() -> None:
            for lane in self.lanes:
                verb(lane, *arguments)

        self._thread.tell(tell)

    def close(self, timeout: float | None = None) -> bool:
        """End the thread and wait for it; returns whether it has ended, with everything written."""
        closed = [lane.close(timeout) for lane in self.lanes]
        return all(closed)

    @property
    def closed(self) -> bool:
        """Has its thread ended? Its lanes are then stored runs like any others."""
        return not self._thread.is_alive()

    # ---------------------------------------------------------------- what it shows

    @property
    def state(self) -> State:
        """That of the lanes that are furthest from an end."""
        return min([lane.state for lane in self.lanes], key=STATE_ORDER.index)  # each asked once: they change meanwhile

    @property
    def alive(self) -> bool:
        """Is it running or paused, or about to start?"""
        return self.state not in ENDED

    @property
    def step(self) -> int:
        """The step of all lanes that still train."""
        return max(lane.step for lane in self.lanes)

    @property
    def stage(self) -> int:
        """Always 0: lanes are shown between two steps."""
        return 0

    @property
    def title(self) -> str:
        """What races, in words for people."""
        return f"race of {len(self.lanes)} lanes, {self.lanes[0].title}"

    @property
    def config(self) -> RunConfig:
        """The first lane's configuration."""
        return self.lanes[0].config

    @property
    def dataset(self) -> Corpus | Points:
        """What all lanes learn from."""
        return self.lanes[0].dataset

    @property
    def baselines(self) -> Any:
        """What the losses can be compared with."""
        return self.lanes[0].baselines

    @property
    def layers(self) -> tuple[str, ...]:
        """The model's parts."""
        return self.lanes[0].layers

    @property
    def built(self) -> threading.Event:
        """Set when all models are built, one after another."""
        return self.lanes[-1].built

    def status(self) -> RunStatus:
        """What there is to say of the race now; what counts steps is that of the leading lane."""
        leading = max(self.lanes, key=lambda lane: lane.step)
        faults = [
            f"{name}: {lane.message}"
            for name, lane in zip(self.names, self.lanes, strict=True)
            if lane.state in (State.DIVERGED, State.FAILED)
        ]
        return replace(
            leading.status(),
            run=self.id,
            title=self.title,
            state=self.state,
            message="; ".join(faults) if self.state in (State.DIVERGED, State.FAILED) else leading.message,
            error=next((lane.error for lane in self.lanes if lane.error), None),
            warning="; ".join(faults) or None,
            trouble=False,
            made_again=next(
                (replace(again, trains_on=self._trains_on) for lane in self.lanes if (again := lane.catch_up)), None
            ),
            unsaved=next((lane.store.problem for lane in self.lanes if lane.store and lane.store.problem), None),
            settings=self.settings.model_dump(),
            version=self.version,
            max_steps=max(lane.settings.max_steps for lane in self.lanes),
        )
