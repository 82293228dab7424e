"""What a lesson is made of, as data: scenes that show something, ask, let do, and ask again.

A question is answered by an experiment that is run for real. Nothing here knows its outcome: the right answer and the
numbers in an explanation are measured from what was run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...runs.run import Run
from ...sweeps.sweep import RunningSweep
from ..poll import Kind
from ..results import ExperimentResult

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Training:
    """A run of the stage: what the query part of a link says, up to its own max_steps."""

    link: str


@dataclass(frozen=True)
class WhatIf:
    """A what-if of `engine.lessons.experiments`, by its name, on fresh weights: run beside the stage."""

    name: str


@dataclass(frozen=True)
class Bets:
    """As many bigrams as there are answers, each trained with the learning rate that was answered, and `own` ones."""

    steps: int
    own: tuple[float, ...]


Experiment = Training | WhatIf | Bets


class Outcome(NamedTuple):
    """What running an experiment gave: a finished run, the result of a what-if, or the losses of bets."""

    run: Run | None = None
    result: ExperimentResult | None = None
    sweep: RunningSweep | None = None


class Measured(NamedTuple):
    """The right answer (an option's place, a number, the points of a curve), and facts for the explanation by name."""

    answer: int | float | Points
    facts: Mapping[str, Any] = {}


Measure = Callable[[Outcome], Measured]


@dataclass(frozen=True)
class Look:
    """A sentence or two, and where to look; an experiment may begin with it. `page` is the page's address on which it
    is seen: "" for the stage.
    """

    title: str
    text: str
    experiment: Training | None = None
    page: str = ""


@dataclass(frozen=True)
class Predict:
    """A question that is answered before its experiment is run.

    because: the explanation, with the measured facts in braces ("It ended at {end:.2f}."). wrong: for a choice, why
    one may have thought so, by an option's place; met with the reason, not with a mark.
    """

    title: str
    text: str
    kind: Kind
    experiment: Experiment
    measure: Measure
    because: str
    wrong: Mapping[int, str] = field(default_factory=dict)
    page: str = ""


@dataclass(frozen=True)
class Do:
    """A task on the live controls, done when `holds` for the run on stage; the hint comes after `patience` seconds."""

    title: str
    text: str
    holds: Callable[[Run], bool]
    hint: str
    experiment: Training | None = None
    patience: float = 40.0
    page: str = ""


@dataclass(frozen=True)
class Again:
    """A question once more after its explanation, or its twin: both distributions then stand side by side.

    of: the title of the first scene. The twin has a text of its own; without one the first is asked again.
    """

    title: str
    of: str
    twin: Predict | None = None


Scene = Look | Predict | Do | Again


@dataclass(frozen=True)
class Lesson:
    """number: its place on the path. can: what one can do afterwards ("say why …")."""

    number: int
    name: str
    title: str
    minutes: int
    can: str
    scenes: tuple[Scene, ...]
