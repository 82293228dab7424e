"""A stored run's newest snapshot, and the model that it makes."""

from __future__ import annotations

from ..console import complain
from ..errors import InputError
from ..models.base import LanguageModel
from ..models.registry import build_language_model
from ..runs.datasets import stored_dataset
from ..storage import reader, resume_point
from ..storage.reader import StoredRun
from ..text.corpus import Corpus
from ..training.checkpoint import Snapshot


def load_snapshot(run: str) -> tuple[StoredRun, Snapshot]:
    """The run called `run`, an id or a folder, and its newest whole snapshot; says which ones cannot be used."""
    stored = reader.open_run(run)
    snapshot, refused = resume_point.newest_snapshot(stored)
    for reason in refused:
        complain(reason)
    return stored, snapshot


def load_model(run: str) -> tuple[StoredRun, LanguageModel, Corpus, Snapshot]:
    """The run called `run`, its model with the weights of its newest snapshot, on the CPU, and its text."""
    stored, snapshot = load_snapshot(run)
    corpus = stored_dataset(stored)
    if not isinstance(corpus, Corpus):
        raise InputError(f"run {stored.id} learnt from points, not from text; choose another run")
    model = build_language_model(reader.configuration(stored)[0], corpus.vocab_size)
    return stored, model.load_weights(snapshot.weights).eval(), corpus, snapshot
