"""A run that another process writes, followed live: what its folder tells becomes a history, bit by bit.

Reads the folder and never writes it. What is read goes the way of every run: records into a queue, the pump into a
history, frames to the viewers. Knows no training and no screen.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import RunConfig
from ..storage import command_inbox, reader
from ..storage.curves import tokens_after
from ..storage.index import MANGLED, Stamp, stamp_of
from ..storage.json_lines import FILE, LONGEST_TEXT, TABLE, Recorded
from ..storage.metrics import in_lines, reading, transcript, unpacked
from ..storage.reader import STATES, StoredRun
from ..stream.history import History
from ..stream.messages import Event, Observation, Queue, Record, Sample, Scalars
from ..stream.status import RunStatus, State, StepRate
from ..text.baselines import Baselines
from ..text.corpus import Corpus
from ..text.description import title_of, training_size
from ..text.points import Points

Blocks = list[tuple[int, NDArray[np.float64]]]
LAST_STEP = 2**32 - 1


class Rewound(Exception):
    """What was read is no longer there: the run was taken up again from an earlier step, or is another one."""


class Reader:
    """Reads a run's metrics so that each record is read once."""

    def __init__(self) -> None:
        self.damaged = 0
        """How many rows could not be read."""
        self._version: int | None = None
        self._block = -1
        self._rows = dict.fromkeys(("looks", "frames", "events", "samples", "turns"), 0)

    def news(self, database: sqlite3.Connection) -> tuple[Blocks, list[Record], list[dict[str, Any]]]:
        """What came since the last call: blocks of steps (first, numbers (n, 4)), other records, and turned knobs.

        Rewound where what came before has changed.
        """
        database.execute("BEGIN")  # one moment of the database, however many questions
        try:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if self._version not in (None, version):
                raise Rewound
            self._version = version
            return self._blocks(database), self._records(database), self._turns(database)
        finally:
            database.rollback()

    def _blocks(self, database: sqlite3.Connection) -> Blocks:
        asked = "SELECT first, count, data FROM steps WHERE first > ? ORDER BY first"
        found: Blocks = []
        for first, count, data in database.execute(asked, (self._block,)):
            self._block = first
            with self._counting():
                numbers = unpacked(count, data)
                if first + len(numbers) > LAST_STEP:
                    raise ValueError
                found.append((first, numbers))
        return found

    def _records(self, database: sqlite3.Connection) -> list[Record]:
        records: list[Record] = []
        for step, told in self._new(database, "looks", "step, scalars"):
            with self._counting():
                scalars = {str(name): float(value) for name, value in json.loads(told).items()}
                records.append(Observation(_step(step), scalars, {}))
        newest = "SELECT MAX(rowid), step, name, rows, cols, data FROM frames WHERE rowid > ? GROUP BY name"
        for row, step, name, *table in database.execute(newest, (self._rows["frames"],)).fetchall():
            self._rows["frames"] = max(self._rows["frames"], row)
            with self._counting():
                records.append(Observation(_step(step), {}, {str(name): reader.frame_of(*table)}))
        for step, name, text in self._new(database, "events", "step, name, text"):
            with self._counting():
                records.append(Event(_step(step), _text(name), _text(text)))
        for step, text, prompt, confidence in self._new(database, "samples", "step, text, prompt, confidence"):
            with self._counting():
                records.append(Sample(_step(step), _text(text), int(prompt), _text(confidence)))
        return records

    def _turns(self, database: sqlite3.Connection) -> list[dict[str, Any]]:
        turns = []
        for (told,) in self._new(database, "turns", "settings"):
            with self._counting():
                turns.append(dict(json.loads(told)))
        return turns

    def _new(self, database: sqlite3.Connection, table: str, columns: str) -> list[Any]:
        asked = f"SELECT rowid, {columns} FROM {table} WHERE rowid > ? ORDER BY rowid"
        found = database.execute(asked, (self._rows[table],)).fetchall()
        if found:
            self._rows[table] = found[-1][0]
        return [row[1:] for row in found]

    @contextmanager
    def _counting(self) -> Iterator[None]:
        try:
            yield
        except (zlib.error, AttributeError, *MANGLED):
            self.damaged += 1


def _step(step: object) -> int:
    if type(step) is not int or not 0 <= step <= LAST_STEP:
        raise ValueError(f"no step: {step!r}")
    return step


def _text(text: object) -> str:
    return str(text)[:LONGEST_TEXT]


class ExternalRun:
    """A run elsewhere as viewers are shown it; `refresh` reads on. Has the face of a `Run` that can only be watched."""

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
        self.standing, self.message, self.step, self.version = "ready", "", 0, 0
        self.settings = self._first_settings()
        self.trouble: str | None = None
        self.takes: tuple[str, ...] = ()
        """What its writer honours of what is asked through the mailbox."""
        self.built = threading.Event()
        self.built.set()
        self._reader = Reader()
        self._stamp: Stamp | None = None
        self._last_word = "ready"
        self._turned: list[Event] = []
        self._rate = StepRate(32)
        self._read(self._begin)

    def refresh(self) -> None:
        """Read what came. Rewound if the run has to be opened anew; OSError or sqlite3.Error if it cannot be read."""
        self._read(self._go_on)

    def _read(self, show: Callable[[Blocks, list[Record]], None]) -> None:
        live = reader.is_written(self.folder)  # first: what it wrote before it went is read below
        self._rate.mark(self.step)
        if (stamp := stamp_of(self.folder)) != self._stamp:
            with reading(self.folder) as database:
                blocks, records, turns = self._reader.news(database)
            show(blocks, records)
            self._stamp = stamp
            self._stand(blocks, records, turns)
        takes = command_inbox.takes(self.folder) if live else ()
        if takes != self.takes:  # knobs that can be turned, or no longer
            self.takes, self.version = takes, self.version + 1
        self.standing = reader.standing(self._last_word, live)  # last: who sees it finds everything else in place

    def _begin(self, blocks: Blocks, records: list[Record]) -> None:
        for first, numbers in blocks:
            self.history.add_steps(np.arange(first, first + len(numbers), dtype=np.uint32), numbers)
        self.history.add(records)
        self.history.delta({})  # none of it is news

    def _go_on(self, blocks: Blocks, records: list[Record]) -> None:
        for first, numbers in blocks:
            for place, row in enumerate(numbers.tolist()):
                self.queue.put(Scalars(first + place, *row))
        for record in records:
            self.queue.put(record)

    def _stand(self, blocks: Blocks, records: list[Record], turns: list[dict[str, Any]]) -> None:
        for settings in turns:
            self.settings, self.version = settings, self.version + 1
        for record in records:
            if isinstance(record, Event):
                self._hear(record)
        steps = [first + len(numbers) - 1 for first, numbers in blocks[-1:]]
        if self.config is None:  # a recorded run may have no loss at all
            steps += [record.step for record in records if isinstance(record, Observation)]
        self.step = max([self.step, *steps])

    def _hear(self, event: Event) -> None:
        if event.name in STATES:
            self._last_word, self.message = STATES[event.name], event.text
        elif event.name == "batch_size":
            self._turned.append(event)

    @property
    def state(self) -> str:
        """What it is doing, in the words of every run; one whose writer is gone has stopped, and is `interrupted`."""
        return "stopped" if self.interrupted else self.standing

    @property
    def interrupted(self) -> bool:
        """Has its writer gone without a word?"""
        return self.standing == "interrupted"

    @property
    def recorded(self) -> Recorded | None:
        """What a recorded run says of itself; in lines it may say so late."""
        return transcript(self.folder).told if in_lines(self.folder) else self.stored.recorded

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
            series = [name for name, series in self.history.series.items() if series.count]
            tables = [name for name in self.history.tables if name.startswith(TABLE)]
            return (*series, *tables, *(("samples",) if self.history.samples else ()))

    @property
    def max_steps(self) -> int | None:
        """Where it is to end; None if it does not say."""
        told = self.recorded.max_steps if self.recorded else None
        found = self.settings.get("max_steps", told)
        return found if type(found) is int else None

    @property
    def warning(self) -> str | None:
        """What could not be read of it, in a sentence."""
        if self.trouble is not None:
            return self.trouble
        if self._reader.damaged:
            return f"rows of metrics.db that are damaged and left out: {self._reader.damaged:,}"
        if in_lines(self.folder) and (told := transcript(self.folder)).unread:
            return f"lines of {FILE} that cannot be read and are left out: {told.unread:,} ({told.fault})"
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
        told = self._newest("tokens_seen")
        if told is not None or self.config is None or self.stored.first_settings is None:
            return None if told is None else int(told)
        _, tokens = tokens_after(self.config, self.stored.first_settings, self._turned, float(self.step))
        return int(tokens[-1])

    def _newest(self, channel: str) -> float | None:
        with self.history.lock:
            series = self.history.series.get(channel)
            return None if series is None else series.last
