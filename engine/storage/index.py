"""Runs at a glance, for a list of hundreds: what each is, how far it came, and its best validation loss.

What was read of a folder is cached until its metrics change.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..config import LiveSettings, fields_of
from ..errors import InputError
from ..formatting import format_setting
from ..presets import preset
from . import checkpoint_files, manifest, notes, reader
from .metrics import json_lines, schema
from .metrics.reader import MetricsReader, open_metrics
from .metrics.schema import MetricsError
from .notes import Notes
from .reader import StoredRun

Stamp = tuple[tuple[int, int], ...]
Measured = tuple[StoredRun, tuple[float | None, int | None], float, LiveSettings | None, str]
UNSAID = (
    "max_steps", "speed", "device", "precision", "preset", "eval_every", "observe_every", "sample_every",
    "snapshot_every",
)  # fmt: skip
"""Settings that no name of a run tells."""
BEGAN = re.compile(r"\d{8}-(\d\d)(\d\d)(\d\d)-")  # an id, with the time of day in it
PACE = ("max_steps", "speed")  # how long and how fast: no part of what a fork tries
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
    def label(self) -> str:
        """A name that people can say: the given one, else the preset and what differs from it, with when it began."""
        config, recorded = self.run.config, self.run.recorded
        if self.notes.name or config is None or (recorded and recorded.name):
            return self.name
        try:
            start = preset(config.preset)
        except InputError:  # a preset of another version
            return self.name
        usual = {**start.settings.model_dump(), **start.config.model_dump()}
        others = [
            f"{name.replace('_', ' ')} {format_setting(value)}"
            for name, value in self.settings.items()
            if name not in UNSAID and value != usual.get(name)
        ]
        began = BEGAN.match(self.run.id)
        return ", ".join([config.preset, *others]) + (f" · {':'.join(began.groups())}" if began else "")

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
    return [overview(path) for path in reader.run_folders(root)]


def overview(folder: Path) -> Overview:
    """The run in `folder`."""
    stamp = stamp_of(folder)
    run, best, seconds, began_with, turned = _measured(folder, stamp, reader.is_written(folder))
    return Overview(run, stamp, notes.read(folder), *best, seconds, began_with, turned)


def stamp_of(folder: Path) -> Stamp:
    """When the run's files were last written, and their sizes; an empty log of SQLite's is none."""
    found = []
    for name in (manifest.FILE, schema.FILE, f"{schema.FILE}-wal", json_lines.FILE):
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
    run = reader.read_run(folder)
    if run.reason is not None:
        return run, (None, None), 0.0, None, ""
    try:
        with open_metrics(folder) as metrics:
            saved = checkpoint_files.steps(folder / "snapshots")[-1:] == [run.step]
            if run.state == "interrupted" and saved and reader.last_state(metrics) == "paused":
                run = replace(run, state="paused")  # it was left like that, nothing is to be made again
            return run, _best(metrics), _seconds(metrics), *_beginning(run, metrics)
    except (MetricsError, ValueError, TypeError):
        return StoredRun(folder, reason=f"{schema.FILE} is damaged"), (None, None), 0.0, None, ""


def _best(metrics: MetricsReader) -> tuple[float | None, int | None]:
    """The lowest validation loss, and the first step that had it."""
    losses = [(loss, step) for step, loss in metrics.val_losses() if math.isfinite(loss)]
    return min(losses, default=(None, None))


def _beginning(run: StoredRun, metrics: MetricsReader) -> tuple[LiveSettings | None, str]:
    """The knobs as they stood before the first step of its own, and in words those that its fork turned."""
    if run.config is None:  # recorded: its settings are its own
        return None, ""
    step, since = metrics.newest_fork()
    turned = [event.text for event in since if event.name in LiveSettings.model_fields and event.name not in PACE]
    try:
        turn = metrics.turn_before(step)
        knobs = None if turn is None else LiveSettings(**turn.settings)
    except (ValueError, TypeError):
        knobs = None
    return knobs, ", ".join(turned)


def _seconds(metrics: MetricsReader) -> float:
    """The steps' own times, summed; those of a damaged block are not known."""
    return sum((float(np.nansum(block.numbers[:, SECONDS])) for block in metrics.step_blocks()), 0.0)
