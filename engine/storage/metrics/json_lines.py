"""A run told in lines of JSON, by a program in any language: what a line may say, and reading a file that grows.

A folder under `<home>/runs` with a file records.jsonl in it is a run. Lines are only ever appended, each ends with a
line feed, and says one of these things (`step` counts from 0 and never goes back; what is not known is left out):

    {"run": {"name": "my run", "settings": {"lr": 0.001}, "max_steps": 5000}}
    {"step": 1, "loss": 2.31, "grad_norm": 0.8, "lr": 0.001, "val_loss": 2.4, "accuracy": 0.3}
    {"step": 1, "table": "hidden", "rows": [[0.1, -0.2], [0.3, 0.4]]}
    {"step": 1, "sample": "a text"}
    {"step": 1, "event": "something happened"}
    {"step": 1, "state": "done"}

A writer that locks the file `lock` beside it (flock) is known to be there for as long as it holds that; one that does
not is taken to be there while it writes.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from ...config import MAX_STEPS, MOST_SHOWN, Frozen, sentence
from ...errors import InputError
from ...stream.downsampling import pool_table
from ...stream.messages import Event, Observation, Record, Sample, Scalars
from ...stream.series import MEAN
from .rows import LARGEST_SIDE

FILE = "records.jsonl"
LONGEST_LINE = 4_000_000  # bytes
CHUNK = LONGEST_LINE + 1
HEAD = 256  # bytes by which one file is told from another
MOST_CHANNELS = 64
MOST_TABLES = 4  # each is sent whole to every new viewer
LONGEST_NAME = 60
LONGEST_TEXT = 20_000
STATES = ("started", "paused", "resumed", "done", "stopped", "diverged", "failed")
STEP_NUMBERS = ("loss", "grad_norm", "lr", "seconds")  # one row a step; every other number is a channel by itself
CHANNELS = {"val_loss": "val/loss"}
RESERVED = ("step", "samples", "step_time", "train/loss", "update_ratio")
TABLE_PREFIX = "table/"
Setting = bool | Annotated[int, Field(ge=-(2**63), lt=2**64)] | float | str | None
"""A larger whole number is kept as a float: a frame holds none of more than 64 bits."""


class Recorded(Frozen):
    """What a run that was recorded from somebody's own loop says of itself."""

    name: str = Field("", max_length=80)
    settings: dict[str, Setting] = Field(default_factory=dict, max_length=64)
    max_steps: int | None = Field(None, ge=1, le=MAX_STEPS)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Recorded:
        """These fields, checked. InputError says what is wrong with them."""
        try:
            return cls(**fields)
        except ValidationError as error:
            raise InputError(sentence(error)) from None


class JsonLineParser:
    """Turns what a loop reports into records. InputError for what is not possible; nothing is kept of it then."""

    def __init__(self) -> None:
        self.step = 0
        self._last_loss = -1
        self._channels: set[str] = set()
        self._tables: set[str] = set()
        self._not_finite_seen = False

    def numbers(self, step: int, numbers: Mapping[str, float]) -> list[Record]:
        """What was measured at a step: `loss`, `grad_norm`, `lr` and `seconds` of it, and any others by name."""
        self._check_step(step)
        others: dict[str, float] = {}
        for name, value in numbers.items():
            if type(value) not in (int, float):
                raise InputError(f"{_shown(name)} {_shown(value)} is not a number; log one number a name")
            if name not in STEP_NUMBERS:
                others[self._channel(name)] = _float(value)
        if len(self._channels | others.keys()) > MOST_CHANNELS:
            raise InputError(f"{_shown(next(iter(others)))} is one name too many; a run has at most {MOST_CHANNELS}")
        records: list[Record] = []
        if "loss" in numbers:
            if step <= self._last_loss:
                raise InputError(f"step {step} has its loss already; log each step once")
            row = [_float(numbers.get(name, math.nan)) for name in STEP_NUMBERS]
            records.append(Scalars(step, *row))
            if not math.isfinite(row[0]) and not self._not_finite_seen:
                self._not_finite_seen = True
                records.append(Event(step, "not finite", f"the loss is {row[0]} at step {step:,}"))
            self._last_loss = step
        else:
            others |= {name: _float(numbers[name]) for name in STEP_NUMBERS if name in numbers}
        self._channels |= others.keys()
        self.step = step
        return [*records, Observation(step, others, {})] if others else records

    def table(self, step: int, name: str, cells: Any) -> list[Record]:
        """A table of numbers (rows, columns); a larger one is kept with its neighbours averaged."""
        self._check_step(step)
        _check_name(name)
        if len(self._tables | {name}) > MOST_TABLES:
            raise InputError(f"table {_shown(name)} is one too many; a run has at most {MOST_TABLES}")
        try:
            table = np.asarray(cells, np.float32)
        except (ValueError, TypeError, OverflowError):
            raise InputError(f"table {_shown(name)} is not one of numbers; give rows of equal length") from None
        if table.ndim != 2 or not 0 < min(table.shape) <= max(table.shape) <= LARGEST_SIDE:
            raise InputError(
                f"table {_shown(name)} has shape {table.shape}; give two dimensions of 1 to {LARGEST_SIDE:,} each"
            )
        if not np.isfinite(table).all():
            raise InputError(f"table {_shown(name)} has cells that are not finite; leave it out at such a step")
        self._tables.add(name)
        self.step = step
        return [Observation(step, {}, {TABLE_PREFIX + name: pool_table(table)})]

    def sample(self, step: int, text: str) -> list[Record]:
        """A text that the model wrote."""
        self._check_step(step)
        _check_text(text)
        self.step = step
        return [Sample(step, text, 0, "")]

    def event(self, step: int, text: str, name: str = "event") -> list[Record]:
        """Something that happened."""
        self._check_step(step)
        _check_text(text)
        self.step = step
        return [Event(step, name, text)]

    def _check_step(self, step: int) -> None:
        if type(step) is not int or not 0 <= step <= MAX_STEPS:
            raise InputError(f"step {_shown(step)} is not possible; give a whole number from 0 to {MAX_STEPS:,}")
        if step < self.step:
            raise InputError(f"step {step:,} is behind step {self.step:,}; steps never go back")

    def _channel(self, name: str) -> str:
        _check_name(name)
        if name in RESERVED or name.startswith(TABLE_PREFIX) or name.endswith(MEAN):
            raise InputError(f"{_shown(name)} has a meaning here; choose another name")
        return CHANNELS.get(name, name)


def parse_line(line: bytes, parser: JsonLineParser) -> Recorded | list[Record]:
    """What one line says. InputError if it cannot be read or is not possible."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError("it is not JSON") from None
    if not isinstance(said, dict):
        raise InputError("it is not an object of JSON; write {…}")
    if "run" in said:
        if not isinstance(said["run"], dict):
            raise InputError("run is not an object of JSON; write its name and settings")
        return Recorded.of(said["run"])
    step: Any = said.pop("step", None)
    if "table" in said:
        return parser.table(step, said["table"], said.get("rows"))
    if "sample" in said:
        return parser.sample(step, said["sample"])
    if "event" in said:
        return parser.event(step, said["event"])
    if "state" in said:
        state = said["state"]
        if state not in STATES:
            raise InputError(f"state {_shown(state)} is not one; choose {', '.join(STATES)}")
        return parser.event(step, str(said.get("text", state)), state)
    return parser.numbers(step, {name: value for name, value in said.items() if value is not None})


class Replaced(Exception):
    """The file is another one than before, or shorter: what was read of it no longer holds."""


class GrowingFile:
    """Reads a growing file, each whole line exactly once. What follows the last line feed waits for its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self._head = b""
        self._too_long = False

    def read_lines(self) -> Iterator[list[bytes | None]]:
        """The lines that came since the last call, in pieces; None for one that is too long to be read.

        A piece counts as read when the next one is asked for. OSError, or Replaced.
        """
        with open_regular_file(self.path) as file:
            if file.read(len(self._head)) != self._head or os.fstat(file.fileno()).st_size < self.offset:
                raise Replaced
            self._head += file.read(HEAD - len(self._head))
            file.seek(self.offset)
            while chunk := file.read(CHUNK):
                end = chunk.rfind(b"\n") + 1
                lines: list[bytes | None] = list(chunk[:end].split(b"\n")[:-1])
                if lines and self._too_long:
                    lines[0], self._too_long = None, False
                if lines:
                    yield lines
                    self.offset += end
                elif len(chunk) == CHUNK:
                    self.offset, self._too_long = self.offset + len(chunk), True
                    continue
                if len(chunk) < CHUNK:
                    return
                file.seek(self.offset)


@contextmanager
def open_regular_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to be read, if it is a plain one: no link, no pipe, no device. OSError else."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)  # by hand: `open` refuses a folder and leaves its descriptor open
        raise OSError(f"{path.name} is not a file")
    with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        yield file


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise InputError(f"{_shown(name)} is no name; choose 1 to {LONGEST_NAME} printable characters")


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise InputError(f"{_shown(text)} is not a text; give a string")
    if len(text) > LONGEST_TEXT:
        raise InputError(f"a text of {len(text):,} characters is too long; give at most {LONGEST_TEXT:,}")


def _shown(value: object) -> str:
    return repr(value)[:MOST_SHOWN]
