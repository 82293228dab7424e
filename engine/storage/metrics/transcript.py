"""A run told in lines of JSON as a database in this process's memory, so that it is read like every other run."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from ...errors import InputError
from ...stream.messages import Event, Record
from . import json_lines
from .json_lines import GrowingFile, JsonLineParser, Recorded, Replaced
from .schema import connect_memory
from .writer import MetricsWriter


class Transcript:
    """What a run's lines have said so far."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / json_lines.FILE
        self._lock = threading.RLock()
        self._begin()

    def _begin(self) -> None:
        self.recorded = Recorded.of({})
        """What the run says of itself."""
        self.unread_lines = 0
        """How many lines could not be read, or said what is not possible."""
        self.first_error = ""
        """What was wrong with the first of them."""
        self._line_count = 0
        self._parser = JsonLineParser()
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
        """Read the lines that came; all of them anew where the file is another one. OSError."""
        with self._lock:
            try:
                for lines in self._file.read_lines():
                    self._write(lines)
            except Replaced:
                self._begin()
                self.update()

    def _write(self, lines: list[bytes | None]) -> None:
        records: list[Record] = []
        for line in lines:
            self._line_count += 1
            try:
                if line is None:
                    raise InputError(f"it is longer than {json_lines.LONGEST_LINE:,} bytes")
                content = json_lines.parse_line(line, self._parser)
            except InputError as error:
                self.unread_lines += 1
                self.first_error = self.first_error or f"line {self._line_count:,}: {error}"
                continue
            if isinstance(content, Recorded):
                self.recorded = content
            else:
                records.extend(content)
        self._writer.write(records)


@lru_cache(maxsize=32)
def transcript_of(folder: Path) -> Transcript:
    """The transcript of the run in `folder`, one a process."""
    return Transcript(folder)
