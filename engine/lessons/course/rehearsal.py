"""A lesson played through without a screen: every experiment run, every answer measured, every task done.

What is wrong with a lesson shows here, before it stands in front of people: a link that names what there is not, an
outcome that is none of the options, an explanation with a fact that nobody measured, a task that cannot be done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl

from ... import link
from ...config import changed
from ...errors import InputError
from ...presets import Preset, preset
from ...runs.datasets import Datasets
from ...runs.run import Run
from ...stream.messages import drain_queue
from ...stream.status import ENDED, State
from ...sweeps.sweep import RunningSweep
from ..experiments import EXPERIMENTS, Pacer, Start
from ..poll import Choice, Drawing
from ..results import ExperimentResult
from .scene import Act, Bets, Do, Experiment, Lesson, Look, Measured, Outcome, Predict, Scene, Training

POLL_SECONDS = 0.02
A_LOOK = 20
"""Steps of a run that is only looked at."""


class Rehearsed(NamedTuple):
    """How one scene went: the answer to its question if it asks one, the explanation as people read it, and seconds."""

    scene: Scene
    measured: Measured | None
    explained: str
    seconds: float


def planned(training: Training) -> Preset:
    """The configuration and knobs that a scene's link describes; InputError for anything it says in vain."""
    start, notices = link.read(dict(parse_qsl(training.link, keep_blank_values=True)))
    if notices:
        raise InputError(notices[0])
    return start


def what_if(name: str) -> Callable[[Start, Pacer], ExperimentResult]:
    """The what-if of that name; InputError lists the names."""
    found = next((one for one in EXPERIMENTS if one.name == name), None)
    if found is None:
        names = ", ".join(one.name for one in EXPERIMENTS)
        raise InputError(f"there is no what-if {name[:40]!r}; choose one of {names}")
    return found.run


@dataclass
class Rehearsal:
    """Plays lessons. An experiment that several scenes share is run once."""

    datasets: Datasets
    _outcomes: dict[Experiment, Outcome] = field(default_factory=dict)
    _on_stage: Run | None = None

    def play(self, lesson: Lesson) -> list[Rehearsed]:
        """Every scene in its order; InputError says which scene is wrong, and what is."""
        played = []
        for scene in lesson.scenes:
            began = time.perf_counter()
            try:
                measured, explained = self._play(lesson, scene)
            except InputError as error:
                raise InputError(f"{lesson.title}, scene {scene.title!r}: {error}") from error
            played.append(Rehearsed(scene, measured, explained, time.perf_counter() - began))
        return played

    def close(self) -> None:
        """End all threads."""
        for outcome in self._outcomes.values():
            if outcome.run is not None:
                outcome.run.close(30)
        if self._on_stage is not None:
            self._on_stage.close(30)

    def _play(self, lesson: Lesson, scene: Scene) -> tuple[Measured | None, str]:
        if isinstance(scene, Look):
            if scene.experiment is not None:
                run = self._begin(scene.experiment)
                self._act(run, [Act(A_LOOK)])
            return None, ""
        if isinstance(scene, Do):
            self._do(scene)
            return None, ""
        question = lesson.asked(scene)
        if question is None:
            raise InputError("it asks again what no scene before it asks")
        return self._ask(question)

    def _ask(self, question: Predict) -> tuple[Measured, str]:
        measured = question.measure(self.outcome(question.experiment))
        kind = question.kind
        kind.read([list(point) for point in measured.answer] if isinstance(kind, Drawing) else measured.answer)  # type: ignore[union-attr]
        if isinstance(kind, Choice):
            for option in range(len(kind.options)):
                question.reason(option, measured)
        return measured, question.explained(measured)

    def outcome(self, experiment: Experiment | None) -> Outcome:
        """What an experiment gives, run at full speed; kept, so that the next who asks has the same."""
        if experiment is None:
            return Outcome()
        if experiment not in self._outcomes:
            self._outcomes[experiment] = self._run(experiment)
        return self._outcomes[experiment]

    def _run(self, experiment: Experiment) -> Outcome:
        if isinstance(experiment, Training):
            run = self._make(experiment)
            run.start()
            self._wait(run, ENDED)
            return Outcome(run=run)
        if isinstance(experiment, Bets):
            sweep = experiment.sweep()
            running = RunningSweep(sweep, self.datasets.load_corpus(sweep.config))
            running.train()
            return Outcome(sweep=running)
        start = preset("bigram")
        corpus = self.datasets.load_corpus(start.config)
        return Outcome(result=what_if(experiment.name)(Start(start.config, start.settings, corpus), Pacer()))

    def _do(self, scene: Do) -> None:
        run = self._begin(scene.experiment) if scene.experiment is not None else self._on_stage
        if run is None:
            raise InputError("there is no run to do it with; give the scene an experiment, or one before it")
        if scene.holds(run):
            raise InputError("it is done before anybody has done anything; ask for more")
        if not scene.way:
            return  # nobody has said how
        self._act(run, scene.way)
        if not scene.holds(run):
            raise InputError("it is not done when its own way has been gone; ask for less, or show another way")

    def _begin(self, training: Training) -> Run:
        if self._on_stage is not None:
            self._on_stage.close(30)
        self._on_stage = self._make(training)
        return self._on_stage

    def _act(self, run: Run, way: Sequence[Act]) -> None:
        for act in way:
            run.tune(changed(run.settings, **act.turns))
            run.make_steps(act.steps)
            self._wait(run, (State.PAUSED, *ENDED), run.step + act.steps)

    def _make(self, training: Training) -> Run:
        start = planned(training)
        config = changed(start.config, device="cpu")
        run = Run(config, changed(start.settings, speed="unlimited"), self.datasets.load(config))
        run.wait()
        run.history.add(drain_queue(run.queue))
        return run

    def _wait(self, run: Run, states: Sequence[State], step: int = 0) -> None:
        while run.state not in states or (run.state is State.PAUSED and run.step < step):
            time.sleep(POLL_SECONDS)
            run.history.add(drain_queue(run.queue))
        run.paused_state()  # answered when all of the last step has been emitted
        run.history.add(drain_queue(run.queue))
        if run.state is State.FAILED:
            raise InputError(f"the run failed: {run.message}")
