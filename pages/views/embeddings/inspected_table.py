"""The token embedding that the page inspects: a copy, kept by the session."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st
from torch import Tensor

from engine.errors import InputError
from engine.generators import generator
from engine.link import DEFAULT_PRESET
from engine.models import registry
from engine.models.registry import build_language_model
from engine.presets import preset
from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.stream.status import State
from engine.training.projection import MOST_ROWS
from pages.views.shared import scrubber

PAST = -1


class InspectedTable(NamedTuple):
    """The token embedding (V, D) at one step, and the visible names of its rows."""

    key: tuple[str, int, int]
    """Run, step, and stages done of the next step; PAST instead for an earlier step that the scrubber opened."""
    step: int
    title: str
    table: Tensor
    labels: tuple[str, ...]
    tokens: tuple[str, ...]


def copy_table(run: Run) -> InspectedTable:
    """The table of a run at the step that the scrubber opened, else now; InputError if the run does not answer."""
    tokenizer, made = run.corpus.tokenizer, scrubber.restored()
    if made is not None and made.paused_state is not None:
        step, weights, stage = made.step, made.paused_state.snapshot.weights, PAST
    else:
        stage = run.stage  # read first: if the run moves in between, the copy counts as old
        step, weights = run.copy_weights()
    table = weights["token_embedding.weight"][:MOST_ROWS].clone()
    labels, tokens = tokenizer.labels[:MOST_ROWS], tokenizer.vocab[:MOST_ROWS]
    return InspectedTable((run.id, step, stage), step, run.title, table, labels, tokens)


def untrained_table() -> InspectedTable:
    """The table that a run with the default preset begins with."""
    config = preset(DEFAULT_PRESET).config
    corpus = run_manager().datasets.load_corpus(config)
    model = build_language_model(config, corpus.vocab_size, generator(config.seed, "weights"))
    tokenizer = corpus.tokenizer
    table = model.token_embedding.weight.detach()
    return InspectedTable(("", 0, 0), 0, f"bigram on {corpus.title}", table, tokenizer.labels, tokenizer.vocab)


def inspected_table(run: Run | None) -> InspectedTable | None:
    """The table on show: the newest of a run that stands still, the one taken last of a run that trains."""
    kept: InspectedTable | None = st.session_state.get("looked")
    key = ("", 0, 0) if run is None else (run.id, run.step, run.stage)
    stays = run is not None and run.state is State.RUNNING
    if run is not None and (past := scrubber.displayed_step()) is not None:
        key, stays = (run.id, past, PAST), False
    if kept is None or (kept.key[0] != key[0] or kept.key[2] == PAST if stays else kept.key != key):
        try:
            kept = st.session_state.looked = untrained_table() if run is None else copy_table(run)
        except InputError as error:
            st.text(str(error))
            return None
    return kept


def run_of_text(run: Run | None) -> Run | None:
    """The run, if its model has a token embedding."""
    return run if run is not None and "embedding" in registry.find(run.config.model).features else None
