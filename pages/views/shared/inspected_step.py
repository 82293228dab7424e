"""What the page Step takes apart: a copy of a moment, and the stage of its step that this session looks at.

The copy is taken between two steps, so nothing that is done with it reaches a run. A session keeps its newest copy. It
takes another one when the page is opened, on request, for another model, and when a run that stands still has moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import streamlit as st
import torch
from torch import Tensor

from engine.config import RunConfig
from engine.errors import InputError
from engine.lessons.whole_step import WholeStep, make_whole_step
from engine.link import DEFAULT_PRESET
from engine.models.base import LanguageModel, Model
from engine.presets import PRESETS
from engine.runs import forks
from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.stream.status import CAN_TRAIN, State
from engine.text.corpus import Corpus
from engine.text.description import title_of
from engine.text.points import Points
from engine.tracking.external_run import ExternalRun
from engine.training.checkpoint import PausedState
from engine.training.state import replay, take_snapshot
from engine.training.trainer import STAGES, Trainer
from pages.views.shared import scrubber

FRESH = {"bigram": "bigram", "gpt-tiny": "small GPT", "document-002-line": "line", "document-002": "5→3 layer"}
"""The presets whose first step can be opened, and what they are called here."""
CURRENT = "current"
MOST_PARAMETERS = 20_000_000
BUILD_SECONDS = 10.0
ANSWER_SECONDS = 10.0


class Source(NamedTuple):
    """Where a copy can be taken: `at` changes with whatever the source does while it stands still."""

    id: str
    at: str
    config: RunConfig
    dataset: Corpus | Points
    take: Callable[[], PausedState]
    told: str
    """What is copied, in a sentence, before the step's number."""
    moving: bool = False
    """Does it train now?"""
    run: Run | None = None
    """The room's own run, which can be held and stepped."""

    @property
    def key(self) -> tuple[str, str]:
        """What it is, and where it stood."""
        return self.id, self.at


@dataclass(frozen=True, eq=False)
class StepCopy:
    """A moment of a source, between two steps or inside one; `walked` steps were made on the copy since step `taken`.

    `asked` is the key of what was to be copied: where that had no answer, a preset stands in as the `source`. `number`
    counts the copies of a session.
    """

    asked: tuple[str, str]
    source: Source
    moment: PausedState
    number: int
    taken: int
    walked: int = 0

    @cached_property
    def whole(self) -> WholeStep:
        """The step that follows, made to its end."""
        return make_whole_step(self.source.config, self.source.dataset, self.moment)

    def following(self, number: int) -> StepCopy:
        """A copy at the start of the step after this one."""
        return StepCopy(self.asked, self.source, self.whole.following, number, self.taken, self.walked + 1)


@dataclass(frozen=True, eq=False)
class InspectedStep:
    """A copy with `done` of the nine stages made, and a trainer of its own that stands there, with its graph."""

    copy: StepCopy
    done: int

    @property
    def config(self) -> RunConfig:
        """The configuration of what is taken apart."""
        return self.copy.source.config

    @property
    def dataset(self) -> Corpus | Points:
        """What it learns from."""
        return self.copy.source.dataset

    @property
    def moment(self) -> PausedState:
        """The state before the step, and how many stages are done."""
        return replace(self.copy.moment, stages=self.done)

    @property
    def stage(self) -> str | None:
        """The last stage that is done in what is shown; None before the first."""
        return STAGES[self.done - 1] if self.done else None

    @property
    def number(self) -> int:
        """The step under way, counted from 1."""
        return self.moment.snapshot.step + 1

    @property
    def key(self) -> str:
        """Identifies this state among all others of the session."""
        return f"{self.copy.number}/{self.done}"

    @cached_property
    def trainer(self) -> Trainer:
        """A trainer of its own at this stage; made when it is first asked for."""
        return replay(self.config, self.dataset, self.moment)

    @property
    def model(self) -> Model:
        """The copy's model, with its weights at this stage."""
        return self.trainer.model

    @property
    def is_text(self) -> bool:
        """Does it learn from text?"""
        return isinstance(self.copy.whole.model, LanguageModel)

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
        return self.dataset.tokenizer.labels if isinstance(self.dataset, Corpus) else ()


# ---------------------------------------------------------------- what there is to copy


def find_source() -> Source:
    """What this session takes apart: an opened moment, a chosen preset, the room's run, or the default preset.

    What has no model that could be copied here is named, and the preset stands in for it.
    """
    made = scrubber.restored()
    if made is not None and (state := made.paused_state) is not None:
        run, at = made.run, f"past/{made.step}"
        return Source(f"{run.id}/{at}", at, run.config, run.dataset, lambda: state, f"A copy of {run.title}")
    chosen = st.session_state.get("step_source", CURRENT)
    if chosen in FRESH:
        return fresh(chosen)
    manager = run_manager()
    if (watched := manager.watched) is not None:
        return elsewhere(watched)
    if manager.current is None:
        return fresh(DEFAULT_PRESET, "There is no run yet. ")
    return of_run(manager.current)


def of_run(run: Run) -> Source:
    """The room's run; the default preset where its model cannot be copied."""
    run.built.wait(BUILD_SECONDS)
    if not run.parameters:
        why = f"failed: {run.message}" if run.state is State.FAILED else "is still being built"
        return fresh(DEFAULT_PRESET, f"The model of {run.title} {why}. ")
    if run.parameters > MOST_PARAMETERS:
        return fresh(
            DEFAULT_PRESET,
            f"{run.title} has {run.parameters:,} parameters: copies of its weights and gradients are too heavy above "
            f"{MOST_PARAMETERS:,}. ",
        )
    told = f"A copy of {run.title}"
    if run.state is State.DIVERGED:
        told = f"This run {run.message}. A copy of its last finite weights"
    at = f"{run.step}/{run.stage}/{run.version}/{run.state}"
    moving = run.state is State.RUNNING
    return Source(run.id, at, run.config, run.dataset, lambda: run.paused_state(ANSWER_SECONDS), told, moving, run)


def elsewhere(run: ExternalRun) -> Source:
    """A run of another process: its newest snapshot, if it can be read here; else the default preset."""
    config, dataset = run.config, run.dataset
    if config is None or dataset is None:
        return fresh(
            DEFAULT_PRESET, f"{run.title} trains in another program: its numbers come here, but not its model. "
        )

    def newest() -> PausedState:
        snapshot = forks.nearest_snapshot(run.stored, run.step)
        if (size := sum(weights.numel() for weights in snapshot.weights.values())) > MOST_PARAMETERS:
            raise InputError(f"{run.title} has {size:,} parameters, too many to be copied here ({MOST_PARAMETERS:,})")
        return PausedState(snapshot, 0)

    told = f"{run.title} belongs to another program. Its newest snapshot"
    return Source(run.id, str(run.step), config, dataset, newest, told, moving=run.state == "running")


def fresh(name: str, why: str = "") -> Source:
    """The first step of a preset, which no run has to make; `why` it stands in for something else."""
    start = PRESETS[name]
    dataset = run_manager().datasets.load(start.config)

    def first() -> PausedState:
        return PausedState(take_snapshot(Trainer(start.config, start.settings, dataset, lambda _: None)), 0)

    told = f"{why}A fresh {title_of(start.config, dataset, dataset.title)}"
    return Source(f"fresh/{name}/{why}", "first", start.config, dataset, first, told)


# ---------------------------------------------------------------- what is on show


def inspected(opened: bool = False) -> InspectedStep:
    """What this session looks at now; a page that was just `opened` shows the present moment."""
    source = find_source()
    asked = st.session_state.pop("step_asked", False) or (opened and source.moving)
    kept: StepCopy | None = st.session_state.get("step_copy")
    if kept is None or asked or kept.asked[0] != source.id or (kept.asked != source.key and not source.moving):
        kept = _take(source, kept)
    shown: InspectedStep | None = st.session_state.get("step_shown")
    done = int(st.session_state.get("step_stage", 0))
    if shown is None or shown.copy is not kept or shown.done != done:
        shown = st.session_state.step_shown = InspectedStep(kept, done)
    return shown


def _take(source: Source, before: StepCopy | None) -> StepCopy:
    """Copy the present moment. While a run trains it stays on show, at the same stage, until somebody asks again."""
    asked = source.key
    try:
        moment = source.take()
    except InputError as error:
        sentence = str(error)
        source = fresh(DEFAULT_PRESET, f"{sentence[:1].upper()}{sentence[1:]}. ")
        moment = source.take()
    number = 1 if before is None else before.number + 1
    copy = st.session_state.step_copy = StepCopy(asked, source, moment, number, moment.snapshot.step)
    if moment.stages:  # a run that stands inside a step
        st.session_state.step_stage = moment.stages
    return copy


# ---------------------------------------------------------------- pressed


def select_source(name: str) -> None:
    """Take the room's run apart, or the first step of a preset."""
    scrubber.return_to_live()
    st.session_state.step_source, st.session_state.step_stage = name, 0


def show_stage(done: int) -> None:
    """Show the step with `done` of its stages made."""
    st.session_state.step_stage = done


def show_next() -> None:
    """Show the next stage; after the last one, the first of the copy's next step."""
    done = int(st.session_state.get("step_stage", 0))
    copy: StepCopy | None = st.session_state.get("step_copy")
    if done == len(STAGES) and copy is not None:
        st.session_state.step_copy, done = copy.following(copy.number + 1), 0
    st.session_state.step_stage = done + 1


def look_again() -> None:
    """Take a new copy at the next drawing: of the present moment, or of a preset's first step."""
    st.session_state.step_asked = True


def pause(run: Run) -> None:
    """Hold the run, for everybody, and look at where it stands."""
    run.pause()
    _wait_for(run)


def train_on(run: Run) -> None:
    """Let the run go on."""
    run.start()
    _wait_for(run)


def can_step(run: Run) -> bool:
    """Can `run`, which stands still, make another step?"""
    return run.state in CAN_TRAIN and run.state is not State.RUNNING and run.step < run.settings.max_steps


def make_step(run: Run) -> None:
    """Have the run itself make a step, or the rest of the one begun."""
    if can_step(run):
        run.make_steps(1)
        _wait_for(run)
        st.session_state.step_stage = 0


def _wait_for(run: Run) -> None:
    """Wait until the run has carried out its commands."""
    try:
        run.paused_state(ANSWER_SECONDS)
    except InputError:
        return  # the next copy says why
