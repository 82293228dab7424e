"""What a run is doing, as data: its state, and everything that a frame's header says of it."""

from __future__ import annotations

import enum
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..config import LiveSettings


class State(enum.StrEnum):
    """What a run is doing, in the words that people see."""

    READY = "ready"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"


ALIVE = (State.RUNNING, State.PAUSED)
CAN_TRAIN = (State.READY, State.RUNNING, State.PAUSED, State.STOPPED)
ENDED = (State.DONE, State.STOPPED, State.DIVERGED, State.FAILED)


@dataclass(frozen=True)
class CatchUp:
    """A run on its way from a snapshot to the step where it is to stand: the steps between are made again.

    `start` is the snapshot's step, `at` the step made last; `trains_on` says whether it goes on when it is there.
    """

    start: int
    at: int
    trains_on: bool


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """Everything that a frame's header says of a run. No field has a default: whoever makes frames fills all of it."""

    run: str | None
    """Its id; None where there is no run."""
    title: str
    elsewhere: bool
    """Does another process train it?"""
    interrupted: bool
    """Has that process gone without saying how the run ended?"""
    state: State
    message: str
    error: str | None
    """The traceback of a failed run."""
    warning: str | None
    trouble: bool
    """Has the loss been absurdly high for a while?"""
    unsaved: str | None
    """Why its records are not on the disk, where they are not."""
    made_again: CatchUp | None
    settings: Mapping[str, Any]
    version: int
    """Counts the changes of the settings."""
    takes: tuple[str, ...]
    """What a run of another process lets others change or do."""
    step: int
    stage: int
    """Stages done of the step under way; 0 between two steps."""
    max_steps: int
    """Where it is to end; 0 if that is not known."""
    steps_per_second: float
    eta_s: float | None
    """Seconds to `max_steps`; None if it does not run."""
    train_loss: float | None
    """The training loss of the headline (`History.recent_loss`); None without one."""
    tokens_seen: int
    epoch: int
    """Counted from 1; 0 for a run that draws random windows."""
    epochs: int | None
    passes: float | None
    """Passes over the training data; None if its size is not known."""
    characters_per_token: float
    reads_text: bool
    device: str
    parameters: int
    """0 if not known."""
    charts: int
    """Counts the charts that came on the way, of a recorded loop or of a schedule: the board asks for them anew."""

    def header(self) -> dict[str, Any]:
        """The header's fields; `settings` has the version in it."""
        fields = {**vars(self), "state": self.state.value, "settings": {**self.settings, "version": self.version}}
        del fields["version"]
        if self.made_again is not None:
            again = asdict(self.made_again)
            fields["made_again"] = {"from": again.pop("start"), **again}
        return fields


def status_of_no_run(settings: LiveSettings) -> RunStatus:
    """What a viewer of the current run is told before there is one."""
    return RunStatus(
        run=None,
        title="",
        elsewhere=False,
        interrupted=False,
        state=State.READY,
        message="",
        error=None,
        warning=None,
        trouble=False,
        unsaved=None,
        made_again=None,
        settings=settings.model_dump(),
        version=0,
        takes=(),
        step=0,
        stage=0,
        max_steps=settings.max_steps,
        steps_per_second=0.0,
        eta_s=None,
        train_loss=None,
        tokens_seen=0,
        epoch=0,
        epochs=None,
        passes=0.0,
        characters_per_token=1.0,
        reads_text=True,
        device="",
        parameters=0,
        charts=0,
    )


class StepRate:
    """Steps a second over the last `window` marks."""

    def __init__(self, window: int) -> None:
        self._marks = deque[tuple[float, int]](maxlen=window)

    def mark(self, step: int) -> None:
        """The run stands at `step` now."""
        self._marks.append((time.monotonic(), step))

    def clear(self) -> None:
        """Forget: the run stands still."""
        self._marks.clear()

    @property
    def steps_per_second(self) -> float:
        """0 until there are two marks."""
        if len(self._marks) < 2:
            return 0.0
        (first_at, first), (last_at, last) = self._marks[0], self._marks[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else 0.0
