"""A run that another process writes, followed live: what is new in its folder becomes records, then its history.

The folder is read and never written. The records go the way of every run's: into a queue, the pump's history, frames.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from ..config import RunConfig
from ..storage import command_inbox, reader
from ..storage.curves import tokens_after
from ..storage.index import Stamp, stamp_of
from ..storage.metrics.follower import MetricsFollower, NewRecords
from ..storage.metrics.json_lines import FILE
from ..storage.metrics.loop_parser import LONGEST_TEXT, PART, TABLE_PREFIX
from ..storage.metrics.reader import is_json_lines, open_metrics
from ..storage.metrics.recorded import Recorded
from ..storage.metrics.transcript import transcript_of
from ..storage.reader import STATES, StoredRun
from ..stream.history import History
from ..stream.messages import Event, Observation, Queue, Record, Sample, Turn
from ..stream.series import GAPS
from ..stream.status import RunStatus, State, StepRate
from ..text.baselines import Baselines
from ..text.corpus import Corpus
from ..text.description import title_of, training_size
from ..text.points import Points


class ExternalRun:
    """A run that is trained elsewhere: like a `Run` to viewers, but only to be watched. `refresh` reads what is new."""

    store = None

    def __init__(self, stored: StoredRun, dataset: Corpus | Points | None) -> None:
        self.id, self.folder = stored.id, stored.folder
        self.stored, self.dataset = stored, dataset
        self.config: RunConfig | None = stored.config
        self.baselines = Baselines.of(dataset) if isinstance(dataset, Corpus) else None
        self.queue: Queue = SimpleQueue()
        self.drain_lock = threading.Lock()
        # Of a recorded loop every number is drawn with its moving average.
        self.history = History() if self.config else History(averaged=lambda _: True)
        self.message, self.step, self.version = "", 0, 0
        self.stored_state = "ready"
        """Its state as the list of runs has it, "interrupted" included."""
        self.settings = self._first_settings()
        self.trouble: str | None = None
        self.takes: tuple[str, ...] = ()
        """The commands that its writer accepts."""
        self.built = threading.Event()
        self.built.set()
        self._follower = MetricsFollower()
        self._stamp: Stamp | None = None
        self._last_state = "ready"
        self._turns: list[Turn] = []
        self._rate = StepRate(32)
        self._read(self._fill_history)

    def refresh(self) -> None:
        """Read what came. Rewound if the run has to be opened anew; OSError or MetricsError if it cannot be read."""
        self._read(self._enqueue)

    def _read(self, show: Callable[[NewRecords], None]) -> None:
        live = reader.is_written(self.folder)  # first: what it wrote before it went is read below
        self._rate.mark(self.step)
        if (stamp := stamp_of(self.folder)) != self._stamp:
            with open_metrics(self.folder) as metrics:
                new = self._follower.read_new(metrics)
            show(new)
            self._stamp = stamp
            self._update(new)
        takes = command_inbox.accepted_commands(self.folder) if live else ()
        if takes != self.takes:  # knobs that can be turned, or no longer
            self.takes, self.version = takes, self.version + 1
        self.stored_state = reader.state_of(self._last_state, live)  # last: who sees it finds everything else in place

    def _fill_history(self, new: NewRecords) -> None:
        for block in new.blocks:
            self.history.add_steps(block.steps, block.numbers)
        self.history.add(map(_shortened, new.records))
        self.history.delta({})  # none of it is new to anyone

    def _enqueue(self, new: NewRecords) -> None:
        for block in new.blocks:
            for scalars in block.scalars():
                self.queue.put(scalars)
        for record in new.records:
            self.queue.put(_shortened(record))

    def _update(self, new: NewRecords) -> None:
        """Where the run stands after `new`: its settings, state, message and step."""
        for turn in new.turns:
            self._turns.append(turn)
            self.settings, self.version = dict(turn.settings), self.version + 1
        for record in new.records:
            if isinstance(record, Event) and record.name in STATES:
                self._last_state, self.message = STATES[record.name], record.text[:LONGEST_TEXT]
        steps = [block.last for block in new.blocks[-1:]]
        if self.config is None:  # a recorded run may have no loss at all
            steps += [
                record.step
                for record in new.records
                if isinstance(record, Observation) and not _of_earlier_part(record)
            ]
        self.step = max([self.step, *steps])

    @property
    def state(self) -> str:
        """What it is doing, in the words of every run; one whose writer is gone has stopped, and is `interrupted`."""
        return "stopped" if self.interrupted else self.stored_state

    @property
    def interrupted(self) -> bool:
        """Did its writer go before the run ended?"""
        return self.stored_state == "interrupted"

    @property
    def recorded(self) -> Recorded | None:
        """What a recorded run says of itself; in lines it may say so late."""
        return transcript_of(self.folder).recorded if is_json_lines(self.folder) else self.stored.recorded

    @property
    def title(self) -> str:
        """What is being learnt from what, for people."""
        if self.recorded is not None:
            return self.recorded.name or self.id
        assert self.config is not None
        what = self.dataset.title if self.dataset is not None else self.config.corpus
        return title_of(self.config, self.dataset, what)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose gradient was measured, in the model's order."""
        start = "grad_norm/"
        return tuple(name.removeprefix(start) for name in self.channels if name.startswith(start))

    @property
    def channels(self) -> tuple[str, ...]:
        """The series and tables there are, by name, and "samples" once there is one."""
        with self.history.lock:
            series = [n for n, series in self.history.series.items() if series.count and not n.endswith(GAPS)]
            tables = [name for name in self.history.tables if name.startswith(TABLE_PREFIX)]
            return (*series, *tables, *(("samples",) if self.history.samples else ()))

    @property
    def max_steps(self) -> int | None:
        """Where it is to end; None if it does not say."""
        announced = self.recorded.max_steps if self.recorded else None
        found = self.settings.get("max_steps", announced)
        return found if type(found) is int else None

    @property
    def warning(self) -> str | None:
        """What could not be read of it, in a sentence."""
        if self.trouble is not None:
            return self.trouble
        if self._follower.damaged:
            return f"rows of metrics.db that are damaged and left out: {self._follower.damaged:,}"
        if is_json_lines(self.folder) and (lines := transcript_of(self.folder)).unread_lines:
            why = "; ".join(lines.reasons.values())
            return f"lines of {FILE} that cannot be read in full: {lines.unread_lines:,} ({why})"
        return None

    def status(self) -> RunStatus:
        """What there is to say of the run now, for the header of a frame."""
        rate = self._rate.steps_per_second if self.state == "running" else 0.0
        most, seen = self.max_steps, self._tokens_seen()
        environment = (self.stored.about or {}).get("environment") or {}
        return RunStatus(
            run=self.id,
            title=self.title,
            elsewhere=True,
            interrupted=self.interrupted,
            state=State(self.state),
            message=self.message,
            error=None,
            warning=self.warning,
            trouble=False,
            unsaved=None,
            made_again=None,
            settings=self.settings or self._first_settings(),
            version=self.version,
            takes=self.takes,
            step=self.step,
            stage=0,
            max_steps=most or 0,
            steps_per_second=rate,
            eta_s=(most - self.step) / rate if rate and most and most > self.step else None,
            train_loss=self.history.recent_loss(scatters=self.config is not None and self.config.reads_text),
            tokens_seen=seen or 0,
            epoch=int(self._newest("epoch") or 0),
            epochs=self.config.epochs if self.config else None,
            passes=seen / training_size(self.dataset) if seen and self.dataset else None,
            characters_per_token=self.dataset.characters_per_token if isinstance(self.dataset, Corpus) else 1.0,
            reads_text=self.config.reads_text if self.config else False,
            device=str(environment.get("device") or ""),
            parameters=0,
            charts=len(self.channels) if self.config is None else 0,
        )

    def _first_settings(self) -> dict[str, Any]:
        if self.stored.first_settings is not None:
            return self.stored.first_settings.model_dump()
        return dict(self.recorded.settings) if self.recorded else {}

    def _tokens_seen(self) -> int | None:
        recorded = self._newest("tokens_seen")
        if recorded is not None or self.config is None or self.stored.first_settings is None:
            return None if recorded is None else int(recorded)
        _, tokens = tokens_after(self.config, self.stored.first_settings, self._turns, float(self.step))
        return int(tokens[-1])

    def _newest(self, channel: str) -> float | None:
        with self.history.lock:
            series = self.history.series.get(channel)
            return None if series is None else series.last


def _of_earlier_part(record: Observation) -> bool:
    return bool(record.scalars) and all(PART in name for name in record.scalars)


def _shortened(record: Observation | Event | Sample) -> Record:
    """`record` with no text longer than a frame should carry."""
    return record if isinstance(record, Observation) else record._replace(text=record.text[:LONGEST_TEXT])
