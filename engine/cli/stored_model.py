"""A stored run's state at a moment, and the model that it makes."""

from __future__ import annotations

from ..console import Stages, complain
from ..errors import InputError
from ..models.base import LanguageModel
from ..models.registry import build_language_model
from ..progress import Report
from ..runs import forks
from ..runs.datasets import stored_dataset
from ..storage import reader, resume_point
from ..storage.index import overview
from ..storage.reader import StoredRun
from ..text.corpus import Corpus
from ..text.points import Points
from ..training.checkpoint import Snapshot
from ..training.device import pick_device
from ..training.state import repeat_steps, restore, take_snapshot
from ..training.trainer import Trainer

LAST = "last"
BEST = "best"


def load_snapshot(run: str, at: str = LAST) -> tuple[StoredRun, Corpus | Points, Snapshot]:
    """The run called `run`, an id or a folder, what it learnt from, and its state `at` the moment asked for.

    `at` is "last" (its newest whole snapshot; says which ones cannot be used), "best" (the step with the lowest
    validation loss) or the number of a step, made again from the snapshot before it. InputError for any other.
    """
    stored = reader.open_run(run)
    step = None if at == LAST else _step_of(stored, at)
    with Stages() as report:
        dataset = stored_dataset(stored, report=report)
        if step is not None:
            return stored, dataset, _state_at(stored, dataset, step, report)
    snapshot, refused = resume_point.newest_snapshot(stored, dataset)
    for reason in refused:
        complain(reason)
    return stored, dataset, snapshot


def _step_of(stored: StoredRun, at: str) -> int:
    """The step that `at` names: "best", or a number."""
    if at == BEST:
        best = overview(stored.folder).best_val_step
        if best is None:
            raise InputError(
                f"run {stored.id} has no validation loss, so none of its steps is best; choose last or a step"
            )
        return best
    if not at.isdecimal() or int(at) > stored.step:
        raise InputError(f"--at {at[:40]!r} is not possible; choose best, last, or a step from 0 to {stored.step:,}")
    return int(at)


def _state_at(stored: StoredRun, dataset: Corpus | Points, step: int, report: Report) -> Snapshot:
    """The state after `step` updates: those since the snapshot before it are made again, bit for bit."""
    snapshot = forks.nearest_snapshot(stored, step, dataset)
    if snapshot.step == step:
        return snapshot
    config, _ = reader.configuration(stored)
    trainer = Trainer(config, snapshot.settings, dataset, lambda _: None, pick_device(config.device))
    restore(trainer, snapshot)
    first = snapshot.step

    def goes_on() -> bool:
        report("making steps again", trainer.step - first, step - first)
        return False

    repeat_steps(trainer, step, resume_point.read_turns(stored, first, step), goes_on)
    return take_snapshot(trainer)


def load_model(run: str, at: str = LAST) -> tuple[StoredRun, LanguageModel, Corpus, Snapshot]:
    """The run called `run`, its model with the weights of that moment, on the CPU, and its text."""
    stored, corpus, snapshot = load_snapshot(run, at)
    if not isinstance(corpus, Corpus):
        raise InputError(f"run {stored.id} learnt from points, not from text; choose another run")
    model = build_language_model(reader.configuration(stored)[0], corpus.vocab_size)
    return stored, model.load_weights(snapshot.weights).eval(), corpus, snapshot
