"""A stored run's newest snapshot, and the model that it makes."""

from __future__ import annotations

from ..console import Stages, complain
from ..errors import InputError
from ..models.base import LanguageModel
from ..models.registry import build_language_model
from ..runs.datasets import stored_dataset
from ..storage import reader, resume_point
from ..storage.reader import StoredRun
from ..text.corpus import Corpus
from ..text.points import Points
from ..training.checkpoint import Snapshot


def load_snapshot(run: str) -> tuple[StoredRun, Corpus | Points, Snapshot]:
    """The run called `run`, an id or a folder, what it learnt from, and its newest whole snapshot.

    Says which ones cannot be used.
    """
    stored = reader.open_run(run)
    with Stages() as report:
        dataset = stored_dataset(stored, report=report)
    snapshot, refused = resume_point.newest_snapshot(stored, dataset)
    for reason in refused:
        complain(reason)
    return stored, dataset, snapshot


def load_model(run: str) -> tuple[StoredRun, LanguageModel, Corpus, Snapshot]:
    """The run called `run`, its model with the weights of its newest snapshot, on the CPU, and its text."""
    stored, corpus, snapshot = load_snapshot(run)
    if not isinstance(corpus, Corpus):
        raise InputError(f"run {stored.id} learnt from points, not from text; choose another run")
    model = build_language_model(reader.configuration(stored)[0], corpus.vocab_size)
    return stored, model.load_weights(snapshot.weights).eval(), corpus, snapshot
