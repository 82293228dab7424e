"""The journal of a run's live settings: what was asked for, what changed at which step, and what is to be repeated."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable

from ..config import LiveSettings
from ..formatting import format_change
from ..storage.resume_point import KnobTurn
from ..stream.messages import Event, Turn
from ..training.trainer import STAGES

UPDATE = STAGES.index("update")


class SettingsJournal:
    """Settings are asked for by any thread and applied by the training thread, a moment later.

    `pending` are changes that were made after the step at which a run is taken up again: each is repeated at its step,
    unless somebody changes a setting before.
    """

    def __init__(self, settings: LiveSettings, pending: Iterable[KnobTurn] = ()) -> None:
        self.settings = settings
        """As they were asked for last."""
        self.version = 0
        """Counts the changes."""
        self.within_step: list[tuple[int, LiveSettings]] = []
        """Changes since the step under way began, each with the number of stages done."""
        self._lock = threading.Lock()
        self._pending = deque(pending)
        self._version_before = self.version
        self.repeat_at: float = self._pending[0][0] if self._pending else math.inf
        """The step at which the next change is to be repeated; inf if there is none."""

    # ---------------------------------------------------------------- asked by anyone

    def request(self, settings: LiveSettings, send: Callable[[LiveSettings], None]) -> None:
        """Ask for these settings: `send` passes them on, in the order in which they were asked for."""
        with self._lock:
            if settings == self.settings:
                return
            self.settings = settings
            self.version += 1
            send(settings)

    # ---------------------------------------------------------------- on the training thread

    def next_repeat(self, step: int, most_stages: int = len(STAGES)) -> KnobTurn | None:
        """The next change that is to be repeated at `step`, with at most so many stages of the next one done."""
        if not self._pending or self._pending[0][0] != step or self._pending[0][1] > most_stages:
            return None
        with self._lock:
            if self.version != self._version_before:
                self._pending.clear()
                self.repeat_at = math.inf
                return None
            change = self._pending.popleft()
            self.version += 1
            self._version_before, self.settings = self.version, change[2]
        self.repeat_at = self._pending[0][0] if self._pending else math.inf
        return change

    def applied(self, before: LiveSettings, after: LiveSettings, step: int, stages: int) -> tuple[Turn, list[Event]]:
        """Note a change after `step` updates and `stages` stages of the next; its record, and an event a setting."""
        self.within_step.append((stages, after))
        old, new = before.model_dump(), after.model_dump()
        changed = [name for name in new if new[name] != old[name]]
        events = [Event(step, name, format_change(name, old[name], new[name])) for name in changed]
        return Turn(step, stages if stages <= UPDATE else 0, new), events
