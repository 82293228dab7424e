"""A fork: a run that begins where another one stood, with all that the other had shown up to there.

A step that no snapshot was taken of is reached from the newest one before it, by making the steps between again: the
training is deterministic, so they come out as they did. Snapshots from before a fork lie in its parent's folder.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from ..config import LiveSettings
from ..errors import InputError
from ..storage import checkpoint_files, reader
from ..storage.metrics import reading
from ..storage.reader import KnobTurn, ResumePoint, StoredRun
from ..training.checkpoint import FineTuneSource, Snapshot


def create_fork(parent: StoredRun, name: str, step: int, snapshot: Snapshot | None = None) -> ResumePoint:
    """What a run called `name` goes on with that leaves `parent` at `step`; its folder is made beside the parent's.

    `snapshot` is the state at that step where it is known. InputError if the step cannot be reached.
    """
    turns: list[KnobTurn] = []
    if snapshot is None:
        snapshot = nearest_snapshot(parent, step)
        turns = reader.turns(parent, snapshot.step, step)
    folder = parent.folder.parent / name
    try:
        folder.mkdir()
        copy_metrics(parent.folder, folder, step)
        history = reader.history(StoredRun(folder))
    except (OSError, sqlite3.Error) as error:
        shutil.rmtree(folder, ignore_errors=True)
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"run {parent.id} cannot be forked ({why}); free some space in {folder.parent}") from None
    return ResumePoint(name, snapshot, history, step=step, turns=tuple(turns), parent=(parent.id, step))


def settings_at(run: StoredRun, step: int) -> LiveSettings:
    """The knobs as they stood after `step` updates. InputError if the step cannot be reached."""
    snapshot = nearest_snapshot(run, step)
    turns = reader.turns(run, snapshot.step, step)
    return turns[-1][2] if turns else snapshot.settings


def nearest_snapshot(run: StoredRun, step: int) -> Snapshot:
    """The newest whole snapshot at or before `step`, of the run or of those that it was forked from; InputError."""
    at: StoredRun | None = run
    while at is not None:
        found, _ = checkpoint_files.newest(at.folder / "snapshots", upto=step)
        if found is not None:
            return found
        at = _parent(at)
    raise InputError(f"run {run.id} has no snapshot at or before step {step:,}; choose a later step")


def fine_tune_source(run: StoredRun) -> FineTuneSource:
    """Where the first weights of a fine-tuned run came from, or of one forked from it; InputError if they are gone."""
    while (parent := _parent(run)) is not None:
        run = parent
    found, _ = checkpoint_files.newest(run.folder / "snapshots", upto=0)
    if found is None:
        raise InputError(f"run {run.id} has no snapshot of step 0; fine-tune again from the run before it")
    origin = (run.about or {}).get("parent") or {}
    return FineTuneSource(str(origin.get("run")), int(origin.get("step", 0)), found.weights)


def copy_metrics(source: Path, target: Path, step: int) -> None:
    """Copy what the run in `source` has recorded up to `step`, while it may be being written."""
    with reading(source) as database, closing(sqlite3.connect(target / "metrics.db")) as copy:
        database.backup(copy)
    reader.rewind(target, step)


def _parent(run: StoredRun) -> StoredRun | None:
    """The run that this one was forked from, if its folder is still beside it; a fine-tuned one shares no step."""
    parent = (run.about or {}).get("parent") or {}
    name = str(parent.get("run", ""))
    if not name or Path(name).name != name or name == run.id:
        return None
    found = reader.look(run.folder.parent / name)
    return found if found.reason is None and _hashes(found) == _hashes(run) else None


def _hashes(run: StoredRun) -> list[str | None]:
    return [kept.get("sha256") for kept in reader.kept_texts(run)]
