"""Where a stored run can be continued: its newest whole snapshot, the settings since, and what it had shown by then."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ..config import MAX_STEPS, LiveSettings, sentence
from ..errors import InputError
from ..stream.history import History
from ..text.corpus import Corpus
from ..text.points import Points
from ..training.checkpoint import Snapshot
from . import checkpoint_files, reader
from .lock import acquire_lock
from .metrics import schema
from .metrics.reader import open_metrics
from .metrics.schema import MetricsError, TooMuch
from .metrics.writer import rewind_metrics
from .reader import StoredRun
from .state_shape import StateShape

Dataset = Corpus | Points
KnobTurn = tuple[int, int, LiveSettings]
"""After how many updates, with how many stages of the next step done, and all live settings from there on."""


@dataclass(frozen=True, eq=False)
class ResumePoint:
    """What a run is continued from: its name, a snapshot, and all that it has shown up to `step`.

    `step` may be later than the snapshot's (None: the same): the steps between are made again, unseen, with the knobs
    turned where they were. A fork has the run and the step it comes from as `parent`.
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
    """Knobs that were turned later, before the run was interrupted: they are turned again when it gets there."""

    @property
    def goal(self) -> int:
        """The step from which it goes on."""
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


def load(run: StoredRun, dataset: Dataset | None = None) -> ResumePoint:
    """Where a run goes on: at its newest whole snapshot that fits its `dataset`.

    What was recorded after that is deleted, to be made again.
    Of a run that was interrupted, the knobs turned after it are kept: the same losses are made again.
    InputError while another process writes the run, if no snapshot is whole, or where its folder cannot be written.
    """
    try:
        with acquire_lock(run.folder):  # nobody begins to write it meanwhile
            return _load_locked(dataclasses.replace(reader.read_run(run.folder), state=run.state), dataset)
    except InputError:
        raise
    except TooMuch as error:
        raise InputError(f"run {run.id} cannot be continued: {error}; start it anew") from None
    except (OSError, MetricsError, ValueError, TypeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"run {run.id} cannot be continued: its folder is damaged or cannot be written ({why}); "
            "copy it to a place where it can, or start it anew"
        ) from None


def _load_locked(run: StoredRun, dataset: Dataset | None) -> ResumePoint:
    snapshot, refused = newest_snapshot(run, dataset)
    later = read_turns(run, snapshot.step)
    same_step = [settings for step, stages, settings in later if step == snapshot.step and not stages]
    if same_step:  # turned after the snapshot was taken, at the same step
        snapshot = dataclasses.replace(snapshot, settings=same_step[-1])
    pending = tuple(later[len(same_step) :]) if run.state == "interrupted" else ()
    with open_metrics(run.folder) as metrics:
        metrics.check_names()  # before anything is deleted
    rewind(run.folder, snapshot.step, forget_turns=not pending)
    return ResumePoint(run.id, snapshot, reader.read_history(run), tuple(refused), pending=pending)


def read_turns(run: StoredRun, first: int, last: int = MAX_STEPS) -> list[KnobTurn]:
    """The knobs turned from step `first` on up to where `last` updates are made, in order. MetricsError, ValueError."""
    with open_metrics(run.folder) as metrics:
        turns = metrics.turns_between(first, last)
    try:
        return [(turn.step, turn.stages, LiveSettings(**turn.settings)) for turn in turns]
    except ValidationError as error:
        raise ValueError(sentence(error)) from None


def newest_snapshot(run: StoredRun, dataset: Dataset | None = None) -> tuple[Snapshot, list[str]]:
    """The newest whole snapshot, and why newer ones were passed over; InputError if there is none.

    With the `dataset` that the run learnt from, one that does not fit the model is passed over too.

    A kill may leave one that is ahead of the recorded steps; going on from it would leave a hole in every curve.
    """
    config, _ = reader.configuration(run)
    shape = None if dataset is None else StateShape.of(config, dataset)
    found, refused = checkpoint_files.newest(run.folder / "snapshots", run.step, shape)
    if found is None:
        why = f" ({refused[0]})" if refused else ""
        raise InputError(f"run {run.id} has no snapshot to go on from{why}; start it anew")
    return found, refused


def rewind(folder: Path, step: int, forget_turns: bool = True) -> None:
    """Delete what was stored after `step`: a run that goes on from there makes it again, perhaps with other settings.

    OSError or MetricsError where the disk refuses, ValueError where the rows of `step` are damaged.
    """
    for later in checkpoint_files.steps(folder / "snapshots"):
        if later > step:
            checkpoint_files.remove(checkpoint_files.at(folder / "snapshots", later))
    rewind_metrics(folder / schema.FILE, step, forget_turns)
