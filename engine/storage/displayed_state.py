"""What a run showed at an earlier step, read from its folder while it may be being written. Knows no screen."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from ..stream.messages import EACH_STEP, Floats, Sample
from . import reader
from .metrics import reading, unpacked

LOOKS = 8  # the newest ones, of which some measured the layers and some the validation loss


@dataclass(frozen=True, eq=False)
class DisplayedState:
    """A stored frame: its tables, and the scalars and the sample that were the newest then."""

    step: int
    scalars: dict[str, float]
    tables: dict[str, Floats]
    sample: Sample | None


def frames(folder: Path) -> list[int]:
    """The steps that a frame is stored of, in order."""
    with reading(folder) as database:
        return [step for (step,) in database.execute("SELECT DISTINCT step FROM frames ORDER BY step")]


def frame_before(folder: Path, step: int) -> int | None:
    """The step of the newest frame at or before `step`; None if there is none."""
    with reading(folder) as database:
        (found,) = database.execute("SELECT MAX(step) FROM frames WHERE step <= ?", (step,)).fetchone()
    return None if found is None else int(found)


def moment_at(folder: Path, step: int) -> DisplayedState:
    """What was on show when `step` updates were made, as far as it is stored."""
    with reading(folder) as database:
        return DisplayedState(step, _scalars(database, step), _tables(database, step), _sample(database, step))


def _tables(database: sqlite3.Connection, step: int) -> dict[str, Floats]:
    names = [name for (name,) in database.execute("SELECT DISTINCT name FROM frames")]
    asked = "SELECT rows, cols, data FROM frames WHERE name = ? AND step <= ? ORDER BY step DESC LIMIT 1"
    found = {name: database.execute(asked, (name, step)).fetchone() for name in names}
    return {name: reader.frame_of(*row) for name, row in found.items() if row is not None}


def _scalars(database: sqlite3.Connection, step: int) -> dict[str, float]:
    scalars: dict[str, float] = {}
    asked = "SELECT scalars FROM looks WHERE step <= ? ORDER BY rowid DESC LIMIT ?"
    for (told,) in database.execute(asked, (step, LOOKS)):
        scalars = json.loads(told) | scalars
    asked = "SELECT first, count, data FROM steps WHERE first <= ? ORDER BY first DESC LIMIT 1"
    block = database.execute(asked, (step,)).fetchone()
    if block is not None and step < block[0] + block[1]:
        row = unpacked(*block[1:])[step - block[0]].tolist()
        scalars |= dict(zip(EACH_STEP, row, strict=True))
    return scalars


def _sample(database: sqlite3.Connection, step: int) -> Sample | None:
    asked = "SELECT step, text, prompt, confidence FROM samples WHERE step <= ? ORDER BY step DESC, rowid DESC LIMIT 1"
    row = database.execute(asked, (step,)).fetchone()
    return None if row is None else Sample(*row)
