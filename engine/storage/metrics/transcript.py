"""A run told in lines of JSON as a database in this process's memory, so that it is read like every other run."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

from ...errors import InputError
from ...stream.messages import Event, Record
from . import json_lines
from .json_lines import GrowingFile, Replaced
from .loop_parser import LoopParser, Restarted
from .recorded import Recorded
from .schema import TooMuch, connect_memory
from .writer import MetricsWriter, set_aside

MOST_BYTES = 1_000_000_000
MOST_SECONDS = 60  # of reading at a time
MOST_UNREAD = 100_000  # lines
MOST_REASONS = 5  # why lines could not be read


class Transcript:
    """What a run's lines have said so far."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / json_lines.FILE
        self._lock = threading.RLock()
        self._given_up: tuple[int, str] | None = None
        """At which size of the file, and why."""
        self._begin()

    def _begin(self) -> None:
        self.recorded = Recorded.of({})
        """What the run says of itself."""
        self.unread_lines = 0
        """How many lines could not be read, or not all that they say."""
        self._lost_lines = 0  # of these the ones that could not be read at all
        self.reasons: dict[str, str] = {}
        """What was wrong with them, the first of each kind with its line; at most MOST_REASONS."""
        self._line_count = 0
        self._parser = LoopParser(self._report)
        self._reported = False
        self._parts = 1  # a script that is started again and appends begins another
        self._file = GrowingFile(self._path)
        self._database = connect_memory()
        self._writer = MetricsWriter(self._database)
        self._writer.write([Event(0, "started", "started")])

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """The database with all that the whole lines say by now; other readers wait meanwhile. OSError."""
        with self._lock:
            self.update()
            yield self._database

    def update(self) -> None:
        """Read the lines that came; all of them anew where the file is another one. OSError, or TooMuch."""
        with self._lock:
            size = self._path.stat().st_size
            if size > MOST_BYTES:
                raise TooMuch(f"{json_lines.FILE} has {size:,} bytes; at most {MOST_BYTES:,} are read")
            if self._given_up is not None and size >= self._given_up[0]:
                raise TooMuch(self._given_up[1])
            end, self._given_up = time.monotonic() + MOST_SECONDS, None
            try:
                for lines in self._file.read_lines():
                    self._write(lines)
                    if self._lost_lines > MOST_UNREAD:
                        self._give_up(size, f"more than {MOST_UNREAD:,} lines of {json_lines.FILE} cannot be read")
                    if time.monotonic() > end:
                        self._give_up(size, f"{json_lines.FILE} takes more than {MOST_SECONDS} s to read")
            except Replaced:
                self._begin()
                self.update()

    def _give_up(self, size: int, why: str) -> NoReturn:
        self._given_up = size, why
        raise TooMuch(why)

    def _write(self, lines: list[bytes | None]) -> None:
        records: list[Record] = []
        for line in lines:
            self._line_count += 1
            self._reported = False
            try:
                if line is None:
                    raise InputError(f"it is longer than {json_lines.LONGEST_LINE:,} bytes")
                try:
                    content = json_lines.parse_line(line, self._parser)
                except Restarted:
                    self._writer.write(records)
                    records = self._begin_part()
                    content = json_lines.parse_line(line, self._parser)
            except InputError as error:
                self._lost_lines += 1
                self._report(str(error), str(error))
                continue
            if isinstance(content, Recorded):
                self.recorded = content
                self._parser.may_restart = True
            else:
                records.extend(content)
        self._writer.write(records)

    def _begin_part(self) -> list[Record]:
        """Steps are counted anew: what was told so far is kept under names of its own."""
        set_aside(self._database, self._parts)
        self._parts += 1
        self._parser, self._writer = LoopParser(self._report), MetricsWriter(self._database)
        return [Event(0, "started", f"started again: part {self._parts}")]

    def _report(self, kind: str, sentence: str) -> None:
        """A line that cannot be read, or not all of it."""
        self.unread_lines += not self._reported
        self._reported = True
        if len(self.reasons) < MOST_REASONS:
            self.reasons.setdefault(kind, f"line {self._line_count:,}: {sentence}")


@lru_cache(maxsize=32)
def transcript_of(folder: Path) -> Transcript:
    """The transcript of the run in `folder`, one a process."""
    return Transcript(folder)
