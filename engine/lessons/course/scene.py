"""What a lesson is made of, as data: scenes that show something, ask, let do, and ask again.

A question is answered by an experiment that is run for real. Nothing here knows its outcome: the right answer and the
numbers in an explanation are measured from what was run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, NamedTuple

from ...config import changed
from ...errors import InputError
from ...presets import preset
from ...runs.run import Run
from ...sweeps.bigram_lanes import MOST_LANES
from ...sweeps.sweep import RunningSweep, Sweep
from ..poll import Kind
from ..results import ExperimentResult

Points = tuple[tuple[float, float], ...]
_FORM = re.compile(r"\+?,?(\.\d)?[efg]?")
"""How a fact may be written: as it is, with thousands set apart, with some decimals, with its sign."""


@dataclass(frozen=True)
class Training:
    """A run of the stage: what the query part of a link says, up to its own max_steps. Its speed is for the stage."""

    link: str


@dataclass(frozen=True)
class WhatIf:
    """A what-if of `engine.lessons.experiments`, by its name, on fresh weights: run beside the stage.

    unnamed: it is run before its question is asked, and its first chart shown, the curves called by the options in
    their order: which of them is which is what is asked.
    """

    name: str
    unnamed: bool = False


@dataclass(frozen=True)
class Bets:
    """As many bigrams as there are answers, each trained with the learning rate that was answered, and `own` ones."""

    steps: int
    own: tuple[float, ...]

    def sweep(self, answers: Sequence[object] = ()) -> Sweep:
        """What is trained: `own` rates, and those that were bet. What is no rate, as the option of a choice, is none.

        Of more different bets than can be trained at once some are left out, evenly.
        """
        start = preset("bigram")
        bets = sorted({answer for answer in answers if isinstance(answer, float)} - set(self.own))
        lanes = MOST_LANES - len(self.own)
        if len(bets) > lanes:
            bets = [bets[round(lane * (len(bets) - 1) / (lanes - 1))] for lane in range(lanes)]
        return Sweep.of(start.config, changed(start.settings, max_steps=self.steps), "lr", (*self.own, *bets))


Experiment = Training | WhatIf | Bets


class Outcome(NamedTuple):
    """What an experiment gave: a finished run, the result of a what-if, or the losses of bets; nothing without one."""

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
    """A question that is answered before its experiment is run; without one the measure is a short calculation.

    because: the explanation, with the measured facts in braces ("It ended at {end:.2f}."). wrong: for a choice, why
    one may have thought so, by an option's place, written the same way; met with the reason, not with a mark.
    """

    title: str
    text: str
    kind: Kind
    experiment: Experiment | None
    measure: Measure
    because: str
    wrong: Mapping[int, str] = field(default_factory=dict)
    page: str = ""

    def explained(self, measured: Measured) -> str:
        """The explanation with what was measured."""
        return filled(self.because, measured.facts)

    def reason(self, option: int, measured: Measured) -> str | None:
        """Why one may have chosen this option; None for the right one, and where there is nothing to say."""
        reason = self.wrong.get(option)
        return None if reason is None or option == measured.answer else filled(reason, measured.facts)


class Act(NamedTuple):
    """What a person may do on the live controls: turn these knobs, train so many steps and pause."""

    steps: int
    turns: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Do:
    """A task on the live controls, done when `holds` for the run on stage; the hint comes after `patience` seconds.

    Without an experiment of its own it goes on with the run that is there. way: how it can be done, one of many ways.
    """

    title: str
    text: str
    holds: Callable[[Run], bool]
    hint: str
    way: tuple[Act, ...]
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

    def asked(self, scene: Scene) -> Predict | None:
        """The question that a scene asks; None for one that asks nothing."""
        if isinstance(scene, Again):
            return scene.twin or next(one for one in self.scenes if isinstance(one, Predict) and one.title == scene.of)
        return scene if isinstance(scene, Predict) else None


def filled(template: str, facts: Mapping[str, Any]) -> str:
    """`template` with facts in the place of {name} or {name:.2f}; InputError names a fact or a form that there is not.

    A name is no expression: nothing of a fact but the fact itself can be written.
    """
    written = []
    try:
        for before, name, form, conversion in Formatter().parse(template):
            written.append(before)
            if name is not None:
                written.append(_written(name, form or "", conversion, facts))
    except ValueError as error:  # a brace that is not closed, a form that does not suit the fact
        if isinstance(error, InputError):
            raise
        raise InputError(f"{template[:60]!r} cannot be filled: {error}; write facts as {{end:.2f}}") from None
    return "".join(written)


def _written(name: str, form: str, conversion: str | None, facts: Mapping[str, Any]) -> str:
    if name not in facts or conversion:
        raise InputError(f"there is no fact {{{name[:40]}}}; use one of {', '.join(sorted(facts)) or 'none'}")
    if not _FORM.fullmatch(form):
        raise InputError(f"{{{name}:{form[:40]}}} is not a form of a fact; write {{{name}:.2f}} or so")
    shown = format(facts[name], form)
    return shown if isinstance(facts[name], str) else shown.replace("-", "−")
