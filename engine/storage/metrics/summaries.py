"""What was read of a run in lines of JSON, kept for the next process: reading a hundred thousand lines takes seconds.

A summary lies in the data home, not in the run's folder, which another program writes. It holds for one state of the
file alone; whatever is wrong with it counts as none.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from pydantic import Field, ValidationError

from ...atomic import write_atomic
from ...config import MAX_STEPS, Frozen
from ...paths import home
from . import json_lines
from .recorded import Recorded

LEAST_BYTES = 1_000_000  # of lines that are worth a summary
MOST_BYTES = 1_000_000  # of a summary


class Summary(Frozen):
    """How far a run came, and what it says of itself."""

    file: tuple[int, int, int]
    """When its lines were last written, ns; how many bytes they are; the file's number on its disk."""
    state: str
    step: int = Field(ge=0, le=MAX_STEPS)
    recorded: Recorded
    unread: int = Field(ge=0)
    unread_because: tuple[str, ...] = ()


def file_of(folder: Path) -> tuple[int, int, int]:
    """What tells one state of a run's lines from another. OSError."""
    status = (folder / json_lines.FILE).stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def read(folder: Path) -> Summary | None:
    """The summary of the run in `folder` as it is now; None where there is none. OSError if the run is not there."""
    now = file_of(folder)
    try:
        with _path_of(folder).open("rb") as file:
            summary = Summary.model_validate_json(file.read(MOST_BYTES))
    except (OSError, ValidationError):
        return None
    return summary if summary.file == now else None


def write(folder: Path, summary: Summary) -> None:
    """Keep a summary, if the run is long enough for it to be worth it; a disk that refuses is no trouble."""
    if summary.file[1] < LEAST_BYTES:
        return
    path = _path_of(folder)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, summary.model_dump_json())


def _path_of(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:32]
    return home() / "summaries" / f"{name}.json"
