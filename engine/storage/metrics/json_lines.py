"""A run told in lines of JSON, by a program in any language: what a line may say, and reading a file that grows.

A folder under `<home>/runs` with a file records.jsonl in it is a run. Lines are only ever appended, each ends with a
line feed, and says one of these things (`step` counts from 0 and never goes back; what is not known is left out;
`loop_parser` says which names have a meaning):

    {"run": {"name": "my run", "settings": {"lr": 0.001}, "max_steps": 5000}}
    {"step": 1, "loss": 2.31, "grad_norm": 0.8, "lr": 0.001, "val_loss": 2.4, "accuracy": 0.3}
    {"step": 1, "table": "hidden", "rows": [[0.1, -0.2], [0.3, 0.4]]}
    {"step": 1, "sample": "a text"}
    {"step": 1, "event": "something happened"}
    {"step": 1, "state": "done"}

A script that is started again and appends says `run` once more and counts its steps anew: what it told before is kept
under names with "(part 1)" behind them.

A writer that locks the file `lock` beside it (flock) is known to be there for as long as it holds that; one that does
not is taken to be there while it writes.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ...errors import InputError
from ...stream.messages import Record
from .loop_parser import LoopParser
from .recorded import Recorded, shown

FILE = "records.jsonl"
LONGEST_LINE = 4_000_000  # bytes
CHUNK = LONGEST_LINE + 1
HEAD = 256  # bytes by which one file is told from another
STATES = ("started", "paused", "resumed", "done", "stopped", "diverged", "failed")


def parse_line(line: bytes, parser: LoopParser) -> Recorded | list[Record]:
    """What one line says. InputError if it cannot be read; what is not possible is reported as `parser` reports."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError("it is not JSON") from None
    if not isinstance(said, dict):
        raise InputError("it is not an object of JSON; write {…}")
    if "run" in said:
        if not isinstance(said["run"], dict):
            raise InputError("run is not an object of JSON; write its name and settings")
        return Recorded.converted(said["run"], parser.report)
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
            raise InputError(f"state {shown(state)} is not one; choose {', '.join(STATES)}")
        return parser.event(step, str(said.get("text", state)), state)
    return parser.numbers(step, said)


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
