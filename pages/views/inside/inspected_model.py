"""What the page Inside shows: a copy of the room's model at one step, or an untrained model before the first run.

A session keeps one copy. It takes a new one for another run, for another step of a run that stands still, or on
request; while the run trains, the copy stays. An earlier step that the scrubber has opened takes precedence.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TypeVar

import streamlit as st

from engine.config import LiveSettings, RunConfig
from engine.link import DEFAULT_PRESET
from engine.models.base import LanguageModel, Model
from engine.models.registry import build
from engine.presets import Preset, preset
from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.stream.status import State
from engine.text.corpus import Corpus
from engine.text.points import Points
from pages.views.shared import scrubber
from pages.views.shared.first_model import first_model

STATE_KEY = "inside_look"
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class InspectedModel:
    """A model on the CPU in eval mode, after `step` updates of the run with the id `run` (empty: there is none)."""

    run: str
    step: int
    config: RunConfig
    settings: LiveSettings
    dataset: Corpus | Points
    model: Model
    past: bool = False
    """Is it of an earlier moment that was opened?"""

    @property
    def key(self) -> tuple[str, int]:
        """The key under which results computed on it are kept."""
        return self.run, self.step

    def text(self) -> tuple[LanguageModel, Corpus] | None:
        """Model and text, for a model of text; else None."""
        if isinstance(self.model, LanguageModel) and isinstance(self.dataset, Corpus):
            return self.model, self.dataset
        return None


def default_preset() -> Preset:
    """The experiment shown, and started, while there is no run."""
    return preset(DEFAULT_PRESET)


def inspect_model(run: Run | None) -> InspectedModel:
    """This session's copy; InputError if the run does not give its weights."""
    kept: InspectedModel | None = st.session_state.get(STATE_KEY)
    made = scrubber.restored()
    if run is None:
        if kept is None or kept.run:
            start = default_preset()
            dataset = run_manager().datasets.load(start.config)
            kept = InspectedModel("", 0, start.config, start.settings, dataset, first_model(start.config, dataset))
    elif made is not None and made.paused_state is not None:
        if kept is None or not kept.past or kept.key != (run.id, made.step):
            settings = made.paused_state.snapshot.settings
            kept = InspectedModel(run.id, made.step, run.config, settings, run.dataset, made.model(), past=True)
    else:
        moved = run.state is not State.RUNNING and kept is not None and kept.step != run.step
        if kept is None or kept.past or kept.run != run.id or moved:
            step, weights = run.copy_weights()
            model = build(run.config, run.dataset.vocab_size).load_weights(weights).eval()
            kept = InspectedModel(run.id, step, run.config, run.settings, run.dataset, model)
        kept = replace(kept, settings=run.settings)
    st.session_state[STATE_KEY] = kept
    return kept


def refresh() -> None:
    """Take a new copy at the next rerun."""
    st.session_state.pop(STATE_KEY, None)


def untrained(look: InspectedModel) -> Model:
    """The model with the first weights of the run's seed: those the run began with, unless it is fine-tuned."""
    return cached("untrained", look.run, lambda: first_model(look.config, look.dataset))


def cached(name: str, key: Hashable, make: Callable[[], Made]) -> Made:
    """The result of `make`, kept in the session under `name` until `key` changes."""
    kept: tuple[Hashable, Made] | None = st.session_state.get(f"inside_{name}")
    if kept is None or kept[0] != key:
        kept = key, make()
        st.session_state[f"inside_{name}"] = kept
    return kept[1]
