"""Runs at a glance, for a list of hundreds: what each is, how far it came, and its best validation loss.

What was read of a folder is kept until its metrics change. Knows no screen.
"""

from __future__ import annotations

import json
import math
import sqlite3
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..config import LiveSettings, fields_of
from ..paths import home
from . import checkpoint_files, notes, reader
from .json_lines import FILE
from .metrics import reading, unpacked
from .notes import Notes
from .reader import BLOCKS, StoredRun

Stamp = tuple[tuple[int, int], ...]
Measured = tuple[StoredRun, tuple[float | None, int | None], float, LiveSettings | None, str]
PACE = ("max_steps", "speed")  # how long and how fast: no part of what a fork tries
MANGLED = (ValueError, TypeError, KeyError)  # what a row gives that nobody here has written
SECONDS = 3  # the column of a block that has each step's own time


@dataclass(frozen=True)
class Overview:
    """A run of the list. Losses are in the run's own unit (of text: nats per token)."""

    run: StoredRun
    stamp: Stamp
    """Changes whenever what is stored of the run changes."""
    notes: Notes
    best_val_loss: float | None = None
    best_val_step: int | None = None
    seconds: float = 0.0
    """The steps' own times, pauses not counted."""
    began_with: LiveSettings | None = None
    """Its knobs before the first step that it made itself; None where they cannot be read."""
    turned: str = ""
    """The knobs that were turned where it was forked, for people."""

    @property
    def name(self) -> str:
        """What people call it, else its id."""
        recorded = self.run.recorded
        return self.notes.name or (recorded.name if recorded else "") or self.run.id

    @property
    def parent(self) -> str:
        """The run and the step that it was forked from; "" for one that began by itself."""
        origin = (self.run.about or {}).get("parent")
        if not isinstance(origin, dict) or not isinstance(origin.get("step"), int):
            return ""
        return f"{origin.get('run')} at step {origin['step']:,}"

    @property
    def updates(self) -> int:
        """How many it made: the step at which it diverged has a loss, but its update was not kept."""
        return self.run.step - (self.run.state == "diverged")

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting that it began with and that its model has, by name; empty where it cannot be opened.

        A fork begins where it left its parent.
        """
        if self.run.recorded is not None:
            return dict(self.run.recorded.settings)
        config, first = self.run.config, self.began_with or self.run.first_settings
        if config is None or first is None:
            return {}
        return {**first.model_dump(), **{name: getattr(config, name) for name in fields_of(config.model)}}


def overviews(root: Path | None = None) -> list[Overview]:
    """All runs there are, newest first, damaged ones included."""
    folder = (root or home()) / "runs"
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink() and path.name[0] != "."]
    return [overview(path) for path in sorted(found, reverse=True)]


def overview(folder: Path) -> Overview:
    """The run in `folder`."""
    stamp = stamp_of(folder)
    run, best, seconds, began_with, turned = _measured(folder, stamp, reader.is_written(folder))
    return Overview(run, stamp, notes.read(folder), *best, seconds, began_with, turned)


def stamp_of(folder: Path) -> Stamp:
    """When the run's files were last written, and their sizes; an empty log of SQLite's is none."""
    found = []
    for name in ("config.json", "metrics.db", "metrics.db-wal", FILE):
        try:
            status = (folder / name).stat()
        except OSError:
            continue
        if status.st_size:
            found.append((status.st_mtime_ns, status.st_size))
    return tuple(found)


def differing(shown: list[Overview]) -> list[str]:
    """The settings that are not the same in all of these runs, in the order in which the configuration has them."""
    there = [one.settings for one in shown if one.settings]
    names = list(dict.fromkeys(name for settings in there for name in settings))
    return [name for name in names if any(one.get(name) != there[0].get(name) for one in there)]


@lru_cache(maxsize=2048)
def _measured(folder: Path, stamp: Stamp, written: bool) -> Measured:
    """A run with its best validation loss, seconds, and knobs at its beginning; read again only where it changed."""
    run = reader.look(folder)
    if run.reason is not None:
        return run, (None, None), 0.0, None, ""
    try:
        with reading(folder) as database:
            saved = checkpoint_files.steps(folder / "snapshots")[-1:] == [run.step]
            if run.state == "interrupted" and saved and reader.last_state(database) == "paused":
                run = replace(run, state="paused")  # it was left like that, nothing is to be made again
            return run, _best(database), _seconds(database), *_beginning(run, database)
    except (sqlite3.Error, *MANGLED):
        return StoredRun(folder, reason="metrics.db is damaged"), (None, None), 0.0, None, ""


def _best(database: sqlite3.Connection) -> tuple[float | None, int | None]:
    asked = """SELECT step, scalars FROM looks WHERE instr(scalars, '"val/loss"')"""
    told = [(json.loads(scalars)["val/loss"], step) for step, scalars in database.execute(asked)]
    best: tuple[float | None, int | None] = min((look for look in told if math.isfinite(look[0])), default=(None, None))
    return best


def _beginning(run: StoredRun, database: sqlite3.Connection) -> tuple[LiveSettings | None, str]:
    """The knobs as they stood before the first step of its own, and in words those that its fork turned."""
    if run.config is None:  # recorded: its settings are its own
        return None, ""
    (row, step), *_ = database.execute("SELECT MAX(rowid), step FROM events WHERE name = 'forked'")
    before = "SELECT settings FROM turns WHERE step <= ? AND stages = 0 ORDER BY rowid DESC LIMIT 1"
    found = database.execute(before, (step or 0,)).fetchone()
    after = database.execute("SELECT name, text FROM events WHERE rowid > ? AND step = ? ORDER BY rowid", (row, step))
    turned = [text for name, text in after if name in LiveSettings.model_fields and name not in PACE]
    try:
        knobs = LiveSettings(**json.loads(found[0])) if found else None
    except MANGLED:
        knobs = None
    return knobs, ", ".join(turned)


def _seconds(database: sqlite3.Connection) -> float:
    total = 0.0
    for _, count, data in database.execute(BLOCKS):
        try:
            total += float(np.nansum(unpacked(count, data)[:, SECONDS]))
        except (zlib.error, *MANGLED):  # a damaged block: its time is not known
            continue
    return total
