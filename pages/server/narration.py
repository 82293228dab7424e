"""The narrator's line of each run, for the frames: made anew at most once a second, on the pump's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from engine.lessons.narrator import Subject, line_at
from engine.models import registry
from engine.runs.races.race import Race
from engine.runs.run import Run
from engine.tracking.external_run import ExternalRun

SECONDS = 1.0
AnyRun = Run | Race | ExternalRun


def subject_of(run: AnyRun) -> Subject:
    """What the narrator has to know of a run."""
    if run.config is None:
        return Subject(None, pairs=False, letters=False)
    pairs = "pairs" in registry.find(run.config.model).features
    return Subject(run.baselines, pairs, letters=run.config.tokenizer == "char")


def narration(run: AnyRun, step: int | None = None) -> dict[str, Any] | None:
    """The line for a run as it was after `step` updates (None: where it stands), {"step", "text"}; None without one."""
    line = line_at(run.history, subject_of(run), step)
    return None if line is None else line._asdict()


class Narrations:
    """The newest line of each run, kept for SECONDS."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: WeakKeyDictionary[AnyRun, tuple[float, dict[str, Any] | None]] = WeakKeyDictionary()

    def newest(self, run: AnyRun) -> dict[str, Any] | None:
        """The line for where `run` stands, at most SECONDS old."""
        now = self._clock()
        kept = self._kept.get(run)
        if kept is None or now - kept[0] >= SECONDS:
            kept = self._kept[run] = now, narration(run)
        return kept[1]
