"""Runs as they lie on the disk: which there are, how far they came, and all that is needed to open or continue one.

Reads run folders (`store` writes them), never trusts them: a damaged one, or one from a newer version, is listed with
the reason and harms nothing. Knows no training and no screen.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ..config import MAX_STEPS, LiveSettings, RunConfig
from ..errors import InputError
from ..paths import cli_command, home
from ..stream.history import History
from ..stream.messages import Event, Observation, Sample, Scalars
from ..text.corpus import Corpus
from ..text.points import Points
from ..training.checkpoint import Snapshot
from . import checkpoint_files, manifest
from .json_lines import FILE, LARGEST_SIDE, Recorded
from .lock import acquire_lock, is_locked
from .manifest import FORMAT
from .metrics import blocks, in_lines, inflated, opened, reading, renewed, transcript, unpacked

STATES = {
    "started": "running",
    "resumed": "running",
    "forked": "paused",
    "paused": "paused",
    "done": "done",
    "stopped": "stopped",
    "diverged": "diverged",
    "failed": "failed",
}
QUIET = 60  # seconds after its last line that a writer without a lock counts as gone
BLOCKS = "SELECT first, count, data FROM steps ORDER BY first"
OVER = ("done", "stopped", "diverged", "failed")


@dataclass(frozen=True)
class StoredRun:
    """A run folder: what it is, and where it stands. `reason` says why it cannot be opened, and is None else."""

    folder: Path
    config: RunConfig | None = None
    """None for a run that was recorded from somebody's own loop."""
    first_settings: LiveSettings | None = None
    about: dict[str, Any] | None = None
    state: str = "damaged"
    step: int = 0
    live: bool = False
    reason: str | None = None
    recorded: Recorded | None = None
    """What a run that was recorded says of itself."""
    unread: int = 0
    """How many of its lines cannot be read."""

    @property
    def id(self) -> str:
        """Its name among the runs."""
        return self.folder.name

    @property
    def standing(self) -> str:
        """Where it stands, for people."""
        if self.reason is not None:
            return f"cannot be opened: {self.reason}"
        return f"{self.state} at step {self.step:,}"


KnobTurn = tuple[int, int, LiveSettings]
"""After how many updates, with how many stages of the next step done, and all live settings from there on."""


@dataclass(frozen=True, eq=False)
class ResumePoint:
    """What a run goes on with: its name, a snapshot, and all that it has shown up to where it goes on.

    That is at `step`, which may be later than the snapshot (None: the same): the steps between are made again,
    silently, with the knobs turned where they were. A fork has the run and the step it comes from as `parent`.
    """

    id: str
    snapshot: Snapshot
    history: History
    refused: tuple[str, ...] = ()
    """Why newer snapshots were passed over."""
    step: int | None = None
    turns: tuple[KnobTurn, ...] = ()
    parent: tuple[str, int] | None = None
    pending: tuple[KnobTurn, ...] = ()
    """Knobs that were turned later, before the run was interrupted: they turn again when it comes there."""

    @property
    def goal(self) -> int:
        """The step at which it goes on."""
        return self.snapshot.step if self.step is None else self.step

    @property
    def settings(self) -> LiveSettings:
        """The knobs as they stood there."""
        return self.turns[-1][2] if self.turns else self.snapshot.settings

    @property
    def best(self) -> tuple[float, int] | None:
        """The lowest validation loss that it has shown, and its step."""
        shown = self.history.series.get("val/loss")
        if shown is None or not shown.count:
            return None
        curve = shown.view(shown.count)
        lowest = int(curve.values.argmin())
        return float(curve.values[lowest]), int(curve.steps[lowest])


def runs(root: Path | None = None) -> list[StoredRun]:
    """All run folders, newest first."""
    folder = (root or home()) / "runs"
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink() and path.name[0] != "."]
    return [look(path) for path in sorted(found, reverse=True)]


def find(name: str) -> StoredRun:
    """The run called `name`, an id among the runs or a folder; InputError if it is not there or cannot be opened."""
    path = home() / "runs" / name if Path(name).name == name else Path(name)
    if not path.is_dir() and not (path := Path(name)).is_dir():
        raise InputError(f"there is no run {name!r}; `{cli_command('runs')}` lists those there are")
    run = look(path.absolute())
    if run.reason is not None:
        raise InputError(f"run {run.id} cannot be opened: {run.reason}")
    return run


def look(folder: Path) -> StoredRun:
    """What lies in `folder`; whatever is wrong with it becomes the reason."""
    try:
        if (name := _stranger(folder)) is not None:
            return StoredRun(folder, reason=f"{name} in it is a link, or no plain file")
        if in_lines(folder):
            return _in_lines(folder)
        about = manifest.read(folder)
        if about.get("format", FORMAT) > FORMAT:
            return StoredRun(folder, reason=f"it is from a newer version (format {about['format']})")
        if "recorded" in about:
            config, settings, recorded = None, None, Recorded.of(about["recorded"])
        else:
            config, settings, recorded = RunConfig(**about["config"]), LiveSettings(**about["settings"]), None
        if not (folder / "metrics.db").exists() and is_locked(folder):  # begun a moment ago
            return StoredRun(folder, config, settings, about, "ready", 0, True, recorded=recorded)
        live, (state, step) = is_written(folder), _standing(folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ValidationError, sqlite3.Error) as error:
        return StoredRun(folder, reason=f"{_file_of(error, folder)} is missing or damaged")
    return StoredRun(folder, config, settings, about, standing(state, live), step, live, recorded=recorded)


def _in_lines(folder: Path) -> StoredRun:
    live, (state, step), told = is_written(folder), _standing(folder), transcript(folder)
    recorded = told.told
    return StoredRun(folder, None, None, {}, standing(state, live), step, live, recorded=recorded, unread=told.unread)


def is_written(folder: Path) -> bool:
    """Is a process writing this run? One that tells lines and holds no lock counts as there while it writes.

    Of a folder that cannot be looked into nothing is known: it counts as not written.
    """
    try:
        if (folder / "lock").exists() or not in_lines(folder):
            return is_locked(folder)
        return time.time() - (folder / FILE).stat().st_mtime < QUIET
    except OSError:
        return False


def standing(state: str, live: bool) -> str:
    """What a run is doing whose last word was `state`, and whose writer is there, or is not."""
    return state if live or state in OVER else "interrupted"


def _standing(folder: Path) -> tuple[str, int]:
    with reading(folder) as database:
        return last_state(database), _last_step(database)


def made_of(run: StoredRun) -> tuple[RunConfig, LiveSettings]:
    """What a run is made of and began with; InputError for one that cannot be opened, or that is no model of ours."""
    if run.reason is not None:
        raise InputError(f"run {run.id} cannot be opened: {run.reason}")
    if run.config is None or run.first_settings is None:
        raise InputError(
            f"run {run.id} was recorded from another program's loop, and its model is not here: it cannot be "
            "continued, forked, evaluated, sampled from or taken away as weights; compare it, or export its numbers"
        )
    return run.config, run.first_settings


def history(run: StoredRun) -> History:
    """Everything a run has shown, as a history that viewers can be sent; damaged blocks are left out."""
    kept = History()
    with reading(run.folder) as database:
        for first, numbers in _whole_blocks(database):
            kept.add_steps(np.arange(first, first + len(numbers), dtype=np.uint32), numbers)
        kept.add(_others(database))
    kept.delta({})  # none of it is news
    return kept


def scalars(run: StoredRun) -> Iterator[Scalars]:
    """The record of every step, in order; those of a damaged block are left out."""
    with reading(run.folder) as database:
        for first, numbers in _whole_blocks(database):
            yield from _records(first, numbers)


def looks(run: StoredRun) -> Iterator[tuple[int, dict[str, float]]]:
    """What was measured on a cadence, by step and channel; a row that is not as it was written is left out."""
    with reading(run.folder) as database:
        yield from _whole_looks(database)


def past(run: StoredRun) -> ResumePoint:
    """What a run goes on with: its newest whole snapshot. What was recorded after it is forgotten, to be made again.

    Of a run that was interrupted the knobs turned after it are not forgotten: the same losses are made again.
    InputError while another process writes the run, if no snapshot is whole, or where its folder cannot be written.
    """
    try:
        with acquire_lock(run.folder):  # nobody begins to write it meanwhile
            return _past(dataclasses.replace(look(run.folder), state=run.state))
    except InputError:
        raise
    except (OSError, sqlite3.Error, zlib.error, ValueError, TypeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"run {run.id} cannot be continued: its folder is damaged or cannot be written ({why}); "
            "copy it to a place where it can, or start it anew"
        ) from None


def _past(run: StoredRun) -> ResumePoint:
    found, refused = newest_snapshot(run)
    later = turns(run, found.step)
    here = [settings for step, stages, settings in later if step == found.step and not stages]
    if here:  # turned after the snapshot was taken, at the same step
        found = dataclasses.replace(found, settings=here[-1])
    pending = tuple(later[len(here) :]) if run.state == "interrupted" else ()
    rewind(run.folder, found.step, forget_turns=not pending)
    return ResumePoint(run.id, found, history(run), tuple(refused), pending=pending)


def turns(run: StoredRun, first: int, last: int = MAX_STEPS) -> list[KnobTurn]:
    """The knobs turned from step `first` on up to where `last` updates are made, in order."""
    asked = "SELECT step, stages, settings FROM turns WHERE step >= ? AND (step < ? OR step = ? AND stages = 0)"
    with reading(run.folder) as database:
        found = database.execute(f"{asked} ORDER BY rowid", (first, last, last)).fetchall()
    return [(step, stages, LiveSettings(**json.loads(settings))) for step, stages, settings in found]


def check_text(run: StoredRun, dataset: Corpus | Points) -> None:
    """InputError if `dataset` is not what the run learnt from, now and before it was fine-tuned."""
    at = dataset if isinstance(dataset, Corpus) else None
    for kept in reversed(kept_texts(run)):
        if at is not None and kept.get("sha256", at.sha256) != at.sha256:
            raise InputError(
                f"run {run.id} learnt from another text than {at.name!r} is now; bring back the one whose sha256 "
                f"begins with {kept['sha256'][:12]}"
            )
        at = None if at is None else at.former


def texts(run: StoredRun) -> list[tuple[str, str | None]]:
    """The name, and the path if one was kept, of each text that a run learnt from: the present one last."""
    assert run.config is not None
    before = [(str(kept.get("name")), kept.get("path")) for kept in kept_texts(run)]
    return [*before[:-1], (run.config.corpus, before[-1][1] if before else None)]


def kept_texts(run: StoredRun) -> list[dict[str, Any]]:
    """What was kept about each text that a run learnt from: fine-tuning adds one. None for a run on points."""
    found = []
    at = ((run.about or {}).get("environment") or {}).get("corpus")
    while isinstance(at, dict):
        found.append({key: value for key, value in at.items() if key != "former"})
        at = at.get("former")
    return found[::-1]


def newest_snapshot(run: StoredRun) -> tuple[Snapshot, list[str]]:
    """The newest whole snapshot, and why newer ones were passed over; InputError if there is none.

    A kill may leave one that is ahead of the recorded steps; going on from it would leave a hole in every curve.
    """
    made_of(run)
    found, refused = checkpoint_files.newest(run.folder / "snapshots", upto=run.step)
    if found is None:
        why = f" ({refused[0]})" if refused else ""
        raise InputError(f"run {run.id} has no snapshot to go on from{why}; start it anew")
    return found, refused


def rewind(folder: Path, step: int, forget_turns: bool = True) -> None:
    """Forget what was kept after `step`: a run that goes on from there makes it again, perhaps with other settings."""
    for later in checkpoint_files.steps(folder / "snapshots"):
        if later > step:
            checkpoint_files.remove(checkpoint_files.at(folder / "snapshots", later))
    database = opened(folder / "metrics.db")
    try:
        with database:
            across = database.execute(
                "SELECT first, count, data FROM steps WHERE first <= ? AND first + count - 1 > ?", (step, step)
            ).fetchall()
            database.execute("DELETE FROM steps WHERE first + count - 1 > ?", (step,))
            for block in across:
                rows = [row for row in _records(block[0], unpacked(*block[1:])) if row.step <= step]
                database.executemany("INSERT INTO steps VALUES (?, ?, ?)", blocks(rows))
            for table in ("looks", "frames", "events", "samples"):
                database.execute(f"DELETE FROM {table} WHERE step > ?", (step,))
            if forget_turns:
                database.execute("DELETE FROM turns WHERE step > ? OR step = ? AND stages > 0", (step, step))
            renewed(database)
    finally:
        database.close()


def _last_step(database: sqlite3.Connection) -> int:
    (last,) = database.execute("SELECT MAX(first + count - 1) FROM steps").fetchone()
    if last is None:  # a run that was recorded may have no loss at all
        (last,) = database.execute("SELECT MAX(step) FROM looks").fetchone()
    return int(last or 0)


def last_state(database: sqlite3.Connection) -> str:
    """The last word of a run on what it is doing."""
    marks = ", ".join("?" * len(STATES))
    asked = f"SELECT name FROM events WHERE name IN ({marks}) ORDER BY rowid DESC LIMIT 1"
    found = database.execute(asked, tuple(STATES)).fetchone()
    return STATES[found[0]] if found else "ready"


def _whole_blocks(database: sqlite3.Connection) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """The first step of each block and its numbers (count, 4); a block that is not as it was written is passed over."""
    for first, count, data in database.execute(BLOCKS):
        with suppress(zlib.error, ValueError, TypeError):
            yield first, unpacked(count, data)


def _records(first: int, numbers: NDArray[np.float64]) -> list[Scalars]:
    return [Scalars(first + i, *row) for i, row in enumerate(numbers.tolist())]


def _whole_looks(database: sqlite3.Connection) -> Iterator[tuple[int, dict[str, float]]]:
    for step, told in database.execute("SELECT step, scalars FROM looks ORDER BY rowid"):
        with suppress(ValueError, TypeError, AttributeError):
            yield int(step), {str(name): float(value) for name, value in json.loads(told).items()}


def _others(database: sqlite3.Connection) -> Iterator[Observation | Event | Sample]:
    for step, scalars in _whole_looks(database):
        yield Observation(step, scalars, {})
    newest = "SELECT name, MAX(step), rows, cols, data FROM frames GROUP BY name"
    for name, step, rows, cols, data in database.execute(newest):
        with suppress(zlib.error, ValueError, TypeError):
            yield Observation(int(step), {}, {str(name): frame_of(rows, cols, data)})
    for row in database.execute("SELECT step, name, text FROM events ORDER BY rowid"):
        if _are(row, (int, str, str)):
            yield Event(*row)
    for row in database.execute("SELECT step, text, prompt, confidence FROM samples ORDER BY rowid"):
        if _are(row, (int, str, int, str)):
            yield Sample(*row)


def _are(row: tuple[Any, ...], kinds: tuple[type, ...]) -> bool:
    """Is each value of a row of its kind? SQLite itself does not mind."""
    return all(isinstance(value, kind) for value, kind in zip(row, kinds, strict=True))


def frame_of(rows: int, cols: int, data: bytes) -> Any:
    """A stored table (rows, cols) as float32."""
    if not 0 < rows * cols <= LARGEST_SIDE**2:
        raise ValueError(f"a table of {rows} rows and {cols} columns")
    try:
        raw, kind = inflated(data, 2 * rows * cols), "<f2"
    except ValueError:
        raw, kind = inflated(data, 4 * rows * cols), "<f4"
    return np.frombuffer(raw, kind).astype(np.float32).reshape(rows, cols)


def _stranger(folder: Path) -> str | None:
    """What in a run folder is neither file nor folder: a link could lead anywhere, and a pipe has no end."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                return entry.name
    return None


def _file_of(error: Exception, folder: Path) -> str:
    if in_lines(folder):
        return FILE
    return "metrics.db" if isinstance(error, sqlite3.Error) else "config.json"
