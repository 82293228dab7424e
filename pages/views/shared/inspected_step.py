"""A run's step as this session sees it: which run, at which stage, and a throwaway copy that views can take apart.

The engine is the truth. A session keeps only which run it steps through, how far it looks back, and the last copy.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import streamlit as st
import torch
from torch import Tensor

from engine.errors import InputError
from engine.models.base import LanguageModel, Model
from engine.presets import PRESETS
from engine.runs.manager import run_manager
from engine.runs.restored_state import RestoredState
from engine.runs.run import Run
from engine.stream.status import CAN_TRAIN, State
from engine.text.corpus import Corpus
from engine.training.checkpoint import PausedState
from engine.training.state import replay
from engine.training.trainer import STAGES, Trainer
from pages.views.shared import scrubber

LANE = "step"
CURRENT = "current"
FRESH = {"bigram": "bigram", "gpt-tiny": "small GPT", "document-002-line": "line", "document-002": "5→3 layer"}
"""The presets that a fresh run can have, and what they are called here."""
MOST_PARAMETERS = 20_000_000
WAIT_SECONDS = 10.0


@dataclass(frozen=True, eq=False)
class InspectedStep:
    """A run at one stage of a step, and a throwaway trainer at the same stage, with its autograd graph.

    `present` is how many stages of this step the run itself has done, 9 for a step that was just completed; in the
    step after a restored state, how many are made again.
    """

    run: Run
    moment: PausedState
    present: int
    trainer: Trainer
    past: bool = False
    """Is it a restored state, while the run itself is further on?"""

    @property
    def done(self) -> int:
        """How many stages of the step are done in what is shown."""
        return self.moment.stages

    @property
    def stage(self) -> str | None:
        """The last stage that is done in what is shown; None before the first."""
        return STAGES[self.done - 1] if self.done else None

    @property
    def is_earlier(self) -> bool:
        """Is this an earlier stage than the run's own?"""
        return self.done < self.present

    @property
    def number(self) -> int:
        """The step under way, counted from 1."""
        return self.moment.snapshot.step + 1

    @property
    def key(self) -> str:
        """Identifies this state among all others."""
        return f"{'past/' if self.past else ''}{self.run.id}/{self.moment.snapshot.step}/{self.done}/{self.run.version}"

    @property
    def model(self) -> Model:
        """The copy's model, with its weights at this stage."""
        return self.trainer.model

    @property
    def is_text(self) -> bool:
        """Does it learn from text?"""
        return isinstance(self.model, LanguageModel)

    @property
    def before(self) -> dict[str, Tensor]:
        """The weights before this step's update, by name."""
        return dict(self.moment.snapshot.weights)

    @cached_property
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The copy's parameters by name."""
        return dict(self.model.named_parameters())

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The visible names of a text's tokens, by id; none for the small models."""
        dataset = self.run.dataset
        return dataset.tokenizer.labels if isinstance(dataset, Corpus) else ()


class SeenStep(NamedTuple):
    """What a session remembers of a run: its position, its state there, and the step just completed if it is known."""

    at: str
    moment: PausedState
    whole: PausedState | None


def selected_run() -> Run | None:
    """The run that this session steps through: the room's, or the fresh one; None if there is none yet."""
    if scrubber.selected() is not None:
        return run_manager().current
    source = st.session_state.get("step_source") or (CURRENT if run_manager().current else LANE)
    return run_manager().run_named(source)


def source_of(run: Run | None) -> str:
    """The name under which the board follows `run`."""
    return "here" if run is not None and run is run_manager().current else LANE


def select_run(source: str) -> None:
    """Step through the room's run, or through a fresh one with that preset (the present one, if it has it)."""
    scrubber.return_to_live()
    if source == CURRENT:
        st.session_state.step_source = CURRENT
        return
    st.session_state.step_source = LANE
    lane = run_manager().run_named(LANE)
    if lane is None or lane.config.preset != source:
        start_fresh(source)


def start_fresh(name: str) -> None:
    """A fresh run with the preset `name`, waiting at step 0."""
    start = PRESETS[name]
    try:
        run_manager().prepare_demo(LANE, start.config, start.settings)
    except InputError as error:
        set_notice(str(error))


def set_notice(sentence: str) -> None:
    """Show a sentence on this page until the next press."""
    st.session_state.step_notice = sentence


def can_step(run: Run) -> bool:
    """Can `run` make another stage?"""
    return run.state in CAN_TRAIN and run.state is not State.RUNNING and run.step < run.settings.max_steps


def why_it_cannot_step(run: Run) -> str:
    """Why `run` can make no step, and what to do; empty where it can."""
    lane = source_of(run) == LANE
    if run.state is State.FAILED or run.state is State.DIVERGED:
        told = run.message if run.state is State.DIVERGED else f"failed: {run.message}"
        remedy = "Begin again, or choose another run" if lane else "Choose a fresh run, or reset this one on Train"
        return f"This run {told}. {remedy}."
    if run.state is State.DONE or run.step >= run.settings.max_steps:
        remedy = (
            "Begin again, or choose another run" if lane else "Choose a fresh run, or raise the iterations on Train"
        )
        return f"This run is done: {run.step:,} of {run.settings.max_steps:,} iterations are made. {remedy}."
    return ""


# ---------------------------------------------------------------- pressed


def next_stage(run: Run) -> None:
    """Show the next stage, if an earlier one is on show; else make the run's next stage."""
    st.session_state.pop("step_notice", None)
    back = _stage_shown(run)
    if back is not None:
        _look(run, back + 1)
    elif can_step(run):
        run.make_stage()
        _wait_for(run)


def finish_step(run: Run) -> None:
    """Make the rest of the step under way, or a whole step from between two."""
    st.session_state.pop("step_notice", None)
    st.session_state.pop("step_back", None)
    if not can_step(run):
        return
    run.make_steps(1)
    _wait_for(run)
    end = time.monotonic() + WAIT_SECONDS
    while run.state is State.RUNNING and time.monotonic() < end:
        time.sleep(0.005)


def pause(run: Run) -> None:
    """Pause a run after the step under way."""
    run.pause()
    _wait_for(run)


def show_stage(run: Run, stages: int) -> None:
    """Show the step with `stages` of its stages done; the run itself stays where it is."""
    _look(run, stages)


def _look(run: Run, stages: int) -> None:
    base: SeenStep | None = st.session_state.get("step_base")
    if base is None or base.at != _position(run):
        return
    present = (base.whole or base.moment).stages
    if 0 <= stages < present:
        st.session_state.step_back = base.at, stages
    else:
        st.session_state.pop("step_back", None)


def _stage_shown(run: Run) -> int | None:
    at, stages = st.session_state.get("step_back", ("", 0))
    return stages if at == _position(run) else None


def _wait_for(run: Run) -> None:
    """Wait until the run has carried out its commands."""
    try:
        run.paused_state()
    except InputError as error:
        set_notice(str(error))


# ---------------------------------------------------------------- drawn


def _position(run: Run) -> str:
    return f"{run.id}/{run.step}/{run.stage}/{run.version}/{run.state}"


def inspect_step(run: Run) -> InspectedStep:
    """The stage to show of a run that stands still. InputError if the run does not answer."""
    base = _seen_step(run)
    whole = base.whole or base.moment
    back = _stage_shown(run)
    shown = PausedState(whole.snapshot, whole.stages if back is None else back, whole.turns)
    key = f"{base.at}/{shown.snapshot.step}/{shown.stages}"
    kept: tuple[str, InspectedStep] | None = st.session_state.get("step_copy")
    if kept is None or kept[0] != key:
        trainer = replay(run.config, run.dataset, shown)
        kept = key, InspectedStep(run, shown, whole.stages, trainer)
        st.session_state.step_copy = kept
    return kept[1]


def inspect_restored(made: RestoredState) -> InspectedStep:
    """The step after a restored state, made again up to the stage that this session shows."""
    assert made.paused_state is not None
    stages = _restored_stages(made)
    key = f"{made.run.id}/past/{made.step}/{stages}"
    kept: tuple[str, InspectedStep] | None = st.session_state.get("step_copy")
    if kept is None or kept[0] != key:
        shown = replace(made.paused_state, stages=stages)
        trainer = replay(made.run.config, made.run.dataset, shown)
        kept = key, InspectedStep(made.run, shown, stages, trainer, past=True)
        st.session_state.step_copy = kept
    return kept[1]


def show_restored_stage(made: RestoredState, stages: int) -> None:
    """Show the step after a restored state with `stages` of its stages done."""
    st.session_state.step_past = made.run.id, made.step, stages


def _restored_stages(made: RestoredState) -> int:
    run, step, stages = st.session_state.get("step_past", ("", 0, 0))
    return stages if (run, step) == (made.run.id, made.step) else 0


def _seen_step(run: Run) -> SeenStep:
    before: SeenStep | None = st.session_state.get("step_base")
    at = _position(run)  # read before the run is asked: if it moves meanwhile, the next rerun notices
    if before is not None and before.at == at:
        return before
    moment = run.paused_state()
    base = SeenStep(at, moment, _completed_step(run, moment, before))
    st.session_state.step_base = base
    return base


def _completed_step(run: Run, moment: PausedState, before: SeenStep | None) -> PausedState | None:
    """The step just completed, if this session saw its start and a replay of it ends at the run's own weights."""
    if moment.stages or before is None or before.at.split("/")[0] != run.id:
        return None
    withheld = run.state is State.DIVERGED  # a step that ended without an update
    if before.whole and before.moment.snapshot.step == moment.snapshot.step and not withheld:
        return before.whole
    if moment.snapshot.step - before.moment.snapshot.step != (0 if withheld else 1):
        return None
    whole = PausedState(before.moment.snapshot, len(STAGES), before.moment.turns)
    weights = dict(replay(run.config, run.dataset, whole).model.named_parameters())
    same = torch.equal if run.device.type == "cpu" else torch.allclose
    if not all(same(weights[name], now) for name, now in moment.snapshot.weights.items()):
        return None
    return whole
