"""A fork: a run that goes on from a step of another one, with its history up to there.

A step without a snapshot is reached from the newest one before it by repeating the steps in between: training is
deterministic, so they come out the same. Snapshots from before a fork lie in its parent's folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config import LiveSettings
from ..errors import InputError
from ..storage import checkpoint_files, reader, resume_point
from ..storage.metrics import schema
from ..storage.metrics.reader import open_metrics
from ..storage.metrics.rows import DamagedRow
from ..storage.metrics.schema import MetricsError
from ..storage.reader import StoredRun
from ..storage.resume_point import KnobTurn, ResumePoint
from ..storage.state_shape import StateShape
from ..storage.writer import new_run_id
from ..stream.status import State
from ..text.corpus import Corpus
from ..text.points import Points
from ..training.checkpoint import Snapshot
from .run import Run
from .training_thread import TrainingThread


@dataclass(frozen=True, eq=False)
class ForkPoint:
    """Where forks leave a run: it is paused, and all that it recorded up to `step` is on the disk."""

    parent: Run
    stored: StoredRun
    step: int
    snapshot: Snapshot | None
    """The state at `step`, where it is known."""

    @classmethod
    def of(cls, parent: Run, step: int | None, changes: Mapping[str, Any], flush: Callable[[Run], None]) -> ForkPoint:
        """The point after `step` updates of a paused `parent` (None: where it stands).

        InputError if the step, or max_steps among the `changes`, is not possible.
        """
        at = parent.step if step is None else step
        if not 0 <= at <= parent.step:
            raise InputError(f"step {at:,} is not possible; choose one from 0 to {parent.step:,}")
        if changes.get("max_steps", at + 1) <= at:
            raise InputError(
                f"{changes['max_steps']:,} iterations are not possible: the fork is at step {at:,}; choose more"
            )
        state = parent.paused_state()  # answered once it stands still
        snapshot = state.snapshot
        if state.turns:  # inside the step under way
            snapshot = replace(snapshot, settings=state.turns[-1][1])
        at = snapshot.step if step is None else step
        flush(parent)
        return cls(parent, reader.open_run(parent.id), at, snapshot if at == snapshot.step else None)

    def new_run(self, thread: TrainingThread | None = None) -> Run:
        """A run that waits here, with a folder of its own. InputError if the step cannot be reached."""
        past = create_fork(self.stored, new_run_id(), self.step, self.snapshot, self.parent.dataset)
        return Run(self.parent.config, self.parent.first_settings, self.parent.dataset, past, thread)


@contextmanager
def paused(run: Run) -> Iterator[None]:
    """Pause a run for something that may be refused; after an error it goes on if it was running."""
    was_running = run.state is State.RUNNING
    run.pause()
    try:
        yield
    except BaseException:
        if was_running:
            run.start()
        raise


def create_fork(
    parent: StoredRun, name: str, step: int, snapshot: Snapshot | None = None, dataset: Corpus | Points | None = None
) -> ResumePoint:
    """Make the folder of a fork called `name` beside its parent's, and return the point from which it goes on.

    `snapshot` is the state at that step where it is known. InputError if the step cannot be reached.
    """
    turns: list[KnobTurn] = []
    if snapshot is None:
        snapshot = nearest_snapshot(parent, step, dataset)
        turns = resume_point.read_turns(parent, snapshot.step, step)
    folder = parent.folder.parent / name
    try:
        folder.mkdir()
        copy_metrics(parent.folder, folder, step)
        history = reader.read_history(StoredRun(folder))
    except (OSError, MetricsError, DamagedRow) as error:
        shutil.rmtree(folder, ignore_errors=True)
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"run {parent.id} cannot be forked ({why}); free some space in {folder.parent}") from None
    return ResumePoint(name, snapshot, history, step=step, turns=tuple(turns), parent=(parent.id, step))


def settings_at(run: StoredRun, step: int) -> LiveSettings:
    """The knobs as they stood after `step` updates. InputError if the step cannot be reached."""
    snapshot = nearest_snapshot(run, step)
    turns = resume_point.read_turns(run, snapshot.step, step)
    return turns[-1][2] if turns else snapshot.settings


def nearest_snapshot(run: StoredRun, step: int, dataset: Corpus | Points | None = None) -> Snapshot:
    """The newest whole snapshot at or before `step`, of the run or of those that it was forked from.

    With the `dataset` that they learnt from, one that fits the run's model. InputError where there is none.
    """
    config, _ = reader.configuration(run)
    shape = None if dataset is None else StateShape.of(config, dataset)
    for at in lineage(run):
        found, _ = checkpoint_files.newest(at.folder / "snapshots", step, shape)
        if found is not None:
            return found
    raise InputError(f"run {run.id} has no snapshot at or before step {step:,}; choose a later step")


def copy_metrics(source: Path, target: Path, step: int) -> None:
    """Copy what the run in `source` has recorded up to `step`, while it may be being written."""
    with open_metrics(source) as metrics:
        metrics.copy_to(target / schema.FILE)
    resume_point.rewind(target, step)


def lineage(run: StoredRun) -> Iterator[StoredRun]:
    """The run, then those that it was forked from, the nearest first; each once, whatever their folders say."""
    at, seen = run, {run.id}
    yield at
    while (parent := parent_of(at)) is not None and parent.id not in seen:
        at = parent
        seen.add(at.id)
        yield at


def parent_of(run: StoredRun) -> StoredRun | None:
    """The run that this one was forked from, if its folder is still beside it; None for a fine-tuned one."""
    name = ((run.about or {}).get("parent") or {}).get("run", "")
    if not name or Path(name).name != name or name == run.id:
        return None
    found = reader.read_run(run.folder.parent / name)
    return found if found.reason is None and _hashes(found) == _hashes(run) else None


def _hashes(run: StoredRun) -> list[str | None]:
    return [kept.get("sha256") for kept in reader.recorded_texts(run)]
