"""Runs as they lie on the disk: which there are, how far they came, and what they have recorded.

Run folders (`writer` makes them) are read with distrust: a damaged one, or one from a newer version, is listed with the
reason and harms nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import MAX_STEPS, LiveSettings, RunConfig
from ..errors import InputError
from ..paths import cli_command, home
from ..stream.history import History
from ..stream.messages import Observation, Scalars
from . import lock, manifest
from .metrics import json_lines, schema, summaries
from .metrics.reader import MetricsReader, is_json_lines, open_metrics
from .metrics.recorded import Recorded
from .metrics.rows import DamagedRow
from .metrics.schema import MetricsError, TooMuch
from .metrics.transcript import transcript_of

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
"""The state of a run whose newest event of these names this is."""
FINAL_STATES = ("done", "stopped", "diverged", "failed")
OF_BEFORE = {"precision": "float32"}
"""What a run was made with when its settings did not say so yet."""
QUIET_SECONDS = 60  # since its last line, after which a writer without a lock counts as gone


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
    """How many of its lines cannot be read, or not all that they say."""
    unread_because: tuple[str, ...] = ()
    """Why, each kind once, with the line."""

    @property
    def id(self) -> str:
        """Its name among the runs, such that it can be shown."""
        return os.fsencode(self.folder.name).decode(errors="replace")

    @property
    def status(self) -> str:
        """How far it came and how it ended, for people."""
        if self.reason is not None:
            return f"cannot be opened: {self.reason}"
        return f"{self.state} at step {self.step:,}"


def list_runs(root: Path | None = None) -> list[StoredRun]:
    """All run folders, newest first."""
    return [read_run(path) for path in run_folders(root)]


def run_folders(root: Path | None = None) -> list[Path]:
    """The folders of all runs in a home, newest first: no links, and none whose name begins with a dot."""
    folder = (root or home()) / "runs"
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink() and path.name[0] != "."]
    return sorted(found, reverse=True)


def open_run(name: str) -> StoredRun:
    """The run called `name`, an id among the runs or a folder; InputError if it is not there or cannot be opened."""
    path = home() / "runs" / name if Path(name).name == name else Path(name)
    if not path.is_dir() and not (path := Path(name)).is_dir():
        raise InputError(f"there is no run {name!r}; `{cli_command('runs')}` lists those there are")
    run = read_run(path.absolute())
    if run.reason is not None:
        raise InputError(f"run {run.id} cannot be opened: {run.reason}")
    return run


def read_run(folder: Path) -> StoredRun:
    """What lies in `folder`. Never raises: whatever is wrong with it becomes the `reason`."""
    try:
        if (reason := _unlisted(folder)) is not None:
            return StoredRun(folder, reason=reason)
        if (name := _unsafe_entry(folder)) is not None:
            return StoredRun(folder, reason=f"{name} in it is a link, or no plain file")
        if is_json_lines(folder):
            return _read_json_lines(folder)
        about = manifest.read(folder)
        if about.get("format", manifest.FORMAT) > manifest.FORMAT:
            return StoredRun(folder, reason=f"it is from a newer version (format {about['format']})")
        _check_origin(about)
        if "recorded" in about:
            config, settings, recorded = None, None, Recorded.of(about["recorded"])
        else:
            config = RunConfig(**{**OF_BEFORE, **about["config"]})
            settings, recorded = LiveSettings(**about["settings"]), None
        if not (folder / schema.FILE).exists() and lock.is_locked(folder):  # begun a moment ago
            return StoredRun(folder, config, settings, about, "ready", 0, True, recorded=recorded)
        live, (state, step) = is_written(folder), _read_progress(folder)
    except TooMuch as error:
        return StoredRun(folder, reason=str(error))
    except PermissionError as error:
        return StoredRun(folder, reason=f"its folder cannot be read ({(error.strerror or str(error)).lower()})")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, MetricsError) as error:
        return StoredRun(folder, reason=f"{_file_of(error, folder)} is missing or damaged")
    return StoredRun(folder, config, settings, about, state_of(state, live), step, live, recorded=recorded)


def _read_json_lines(folder: Path) -> StoredRun:
    live, told = is_written(folder), summaries.read(folder)
    if told is None:
        file, (state, step), transcript = summaries.file_of(folder), _read_progress(folder), transcript_of(folder)
        told = summaries.Summary(
            file=file,
            state=state,
            step=step,
            recorded=transcript.recorded,
            unread=transcript.unread_lines,
            unread_because=tuple(transcript.reasons.values()),
        )
        if not live:
            summaries.write(folder, told)
    return StoredRun(
        folder,
        about={},
        state=state_of(told.state, live),
        step=told.step,
        live=live,
        recorded=told.recorded,
        unread=told.unread,
        unread_because=told.unread_because,
    )


def is_written(folder: Path) -> bool:
    """Is a process writing this run? One that writes lines and holds no lock counts as there while lines come.

    Of a folder that cannot be looked into nothing is known: it counts as not written.
    """
    try:
        if (folder / lock.FILE).exists() or not is_json_lines(folder):
            return lock.is_locked(folder)
        return time.time() - (folder / json_lines.FILE).stat().st_mtime < QUIET_SECONDS
    except OSError:
        return False


def state_of(last_state: str, live: bool) -> str:
    """The state of a run that was last in `last_state`, and whose writer is there, or is not."""
    return last_state if live or last_state in FINAL_STATES else "interrupted"


def last_state(metrics: MetricsReader) -> str:
    """The state that a run was in according to its newest event; "ready" where there is none."""
    name = metrics.last_event_name(STATES)
    return "ready" if name is None else STATES[name]


def _read_progress(folder: Path) -> tuple[str, int]:
    with open_metrics(folder) as metrics:
        return last_state(metrics), metrics.last_step()


def configuration(run: StoredRun) -> tuple[RunConfig, LiveSettings]:
    """What a run is made of and began with; InputError for one that cannot be opened, or that is no model of ours."""
    if run.reason is not None:
        raise InputError(f"run {run.id} cannot be opened: {run.reason}")
    if run.config is None or run.first_settings is None:
        raise InputError(
            f"run {run.id} was recorded from another program's loop, and its model is not here: it cannot be "
            "continued, forked, evaluated, sampled from or taken away as weights; compare it, or export its numbers"
        )
    return run.config, run.first_settings


def read_history(run: StoredRun) -> History:
    """Everything a run has shown, as a history that viewers can be sent; damaged rows are left out."""
    history = History()
    with open_metrics(run.folder) as metrics:
        for block in metrics.step_blocks():
            history.add_steps(block.steps, block.numbers)
        for records in (metrics.observations(), metrics.newest_tables(), metrics.events(), metrics.samples()):
            history.add(records)
    history.delta({})  # none of it is new to anyone
    return history


def scalars(run: StoredRun) -> Iterator[Scalars]:
    """The record of every step, in order; those of a damaged block are left out."""
    with open_metrics(run.folder) as metrics:
        for block in metrics.step_blocks():
            yield from block.scalars()


def observations(run: StoredRun) -> Iterator[Observation]:
    """What was measured on a cadence, without tables; a damaged row is left out."""
    with open_metrics(run.folder) as metrics:
        yield from metrics.observations()


def recorded_texts(run: StoredRun) -> list[dict[str, Any]]:
    """What config.json says of each text that a run learnt from, the present one last; none for a run on points."""
    found = []
    at = ((run.about or {}).get("environment") or {}).get("corpus")
    while isinstance(at, dict):
        found.append({key: value for key, value in at.items() if key != "former"})
        at = at.get("former")
    return found[::-1]


def _check_origin(about: dict[str, Any]) -> None:
    """ValueError unless what config.json says of the machine and of a run before is of the kind that is written."""
    environment, parent = about.get("environment"), about.get("parent")
    if not isinstance(environment, dict | None) or not isinstance(parent, dict | None):
        raise ValueError("environment or parent is no object")
    if parent is None:
        return
    run, step = parent.get("run"), parent.get("step")
    if not isinstance(run, str) or type(step) is not int or not 0 <= step <= MAX_STEPS:
        raise ValueError("parent is no run and step")


def _unlisted(folder: Path) -> str | None:
    """Why a folder is no run, whatever is in it."""
    if folder.is_symlink() and folder.parent == home() / "runs":
        return "it is a link; move the run's own folder here"
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    return None


def _unsafe_entry(folder: Path) -> str | None:
    """The name of what is neither file nor folder in a run folder: a link could lead anywhere, a pipe has no end."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                return entry.name
    return None


def _file_of(error: Exception, folder: Path) -> str:
    if is_json_lines(folder):
        return json_lines.FILE
    return schema.FILE if isinstance(error, MetricsError | DamagedRow) else manifest.FILE
