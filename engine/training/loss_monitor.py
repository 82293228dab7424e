"""Watches the losses of a run: warns of one that is absurdly high for a while, and of one that suddenly spikes.

A loss that is not finite is the guard's affair (`guard`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from statistics import median

from ..formatting import format_number
from ..stream.messages import Event, Scalars

HIGH_STEPS = 50
RECENT = 100  # losses behind the median
FEWEST = 20
SPIKE = 3.0  # times the median


class HighLossDetector:
    """Notices a loss above `limit`, finite, for HIGH_STEPS steps in a row; 10·ln V for a model of text."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.high = 0
        """Steps in a row above the limit, up to now."""

    def add(self, loss: float) -> bool | None:
        """True when the alarm begins, False when it ends, None else."""
        if loss > self.limit:
            self.high += 1
            return True if self.high == HIGH_STEPS else None
        ended = self.high >= HIGH_STEPS
        self.high = 0
        return False if ended else None


class SpikeDetector:
    """Notices a finite loss SPIKE times above the median of the recent ones, which `update` takes anew.

    `recent` is filled by whoever makes the steps; only a loss above `limit` need be given to `add`.
    """

    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.median = self.limit = math.inf
        self._last: int | None = None

    def add(self, step: int, loss: float) -> bool:
        """Is this the first spike for a while?"""
        if not self.limit < loss < math.inf:
            return False
        first, self._last = self._last is None, step
        return first

    def update(self, step: int) -> bool:
        """Take the median anew; True where there were spikes and none came for RECENT steps."""
        losses = [loss for loss in self.recent if math.isfinite(loss)]
        if len(losses) >= FEWEST:
            self.median = median(losses)
            self.limit = SPIKE * self.median if self.median > 0 else math.inf
        if self._last is None or step - self._last <= RECENT:
            return False
        self._last = None
        return True


class LossMonitor:
    """Judges each step's loss; what it notices becomes an event, and the `warning` for as long as it holds.

    Called on the training thread alone. `limit` is the loss that is absurdly high; `on_spike` is called at the first
    spike for a while.
    """

    def __init__(self, limit: float, emit: Callable[[Event], None], on_spike: Callable[[], None]) -> None:
        self.warning: str | None = None
        self._emit, self._on_spike = emit, on_spike
        self._high, self._spikes = HighLossDetector(limit), SpikeDetector()
        self._note, self._limit = self._spikes.recent.append, limit
        self._spike_warning: str | None = None

    @property
    def trouble(self) -> bool:
        """Has the loss been absurdly high for HIGH_STEPS steps, up to now?"""
        return self._high.high >= HIGH_STEPS

    def resume(self, losses: Iterable[float]) -> None:
        """Take in the losses of the steps before a run goes on; they make no events."""
        for loss in losses:
            if self._high.add(loss):
                self.warning = self._high_warning()

    def add(self, row: Scalars) -> None:
        """Judge the loss of one step."""
        self._note(row.loss)
        if row.loss > self._limit or self._high.high:
            self._judge(row)

    def update(self, step: int) -> None:
        """Take the median of the recent losses anew, on a cadence."""
        ended = self._spikes.update(step)
        self._limit = min(self._high.limit, self._spikes.limit)
        if ended and self.warning == self._spike_warning:
            self.warning = self._spike_warning = None

    def _judge(self, row: Scalars) -> None:
        if self._spikes.add(row.step, row.loss):
            self._on_spike()
            if not self.trouble:
                loss, usual = format_number(row.loss), self._spikes.median
                self.warning = self._spike_warning = (
                    f"the loss leapt to {loss} at step {row.step:,}, {format_number(row.loss / usual, 3)} times its "
                    f"recent median of {format_number(usual)}; lower the learning rate if it does not come back"
                )
                self._emit(Event(row.step, "leap", f"loss leaps to {loss}"))
        began = self._high.add(row.loss)
        if began:
            self.warning = self._high_warning()
            self._emit(Event(row.step, "warning", self.warning))
        elif began is False:
            self.warning = None

    def _high_warning(self) -> str:
        return (
            f"the loss has been above 10·ln V = {self._high.limit:.1f} for {HIGH_STEPS} steps; "
            "start again with a lower learning rate, as the stage offers"
        )
