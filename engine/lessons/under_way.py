"""The lesson under way on this server: one, as there is one current run, and the same for all of its pages.

Its place and the scenes that were seen outlive a reload and the server. Whoever steers goes from scene to scene; a
question is open from the moment its scene comes, and closes when its experiment is run.
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from ..console import complain
from ..errors import InputError
from ..progress import Cancelled, Job, Report, Stage
from ..runs.manager import RunManager, run_manager
from ..sweeps.sweep import RunningSweep
from . import carried_out, places, predictions
from .classroom import Classroom, classroom
from .course import find_lesson
from .course.scene import Again, Do, Lesson, Look, Measured, Outcome, Predict, Scene, WhatIf
from .poll import Choice, Kind, Poll
from .results import Chart

LOOK_SECONDS = 0.3  # between two looks whether a task is done


class Phase(enum.StrEnum):
    """Where a scene is."""

    READY = "ready"
    """A scene that asks nothing."""
    OPEN = "open"
    """Its question can be answered."""
    RUNNING = "running"
    """The question is closed and its experiment is under way."""
    SHOWN = "shown"
    """What came is shown beside what was said; a task is done."""


class LessonUnderWay:
    """Which lesson is open, at which scene, and how far that is. Any thread may call it."""

    def __init__(self, house: RunManager, room: Classroom, clock: Callable[[], float] = time.monotonic) -> None:
        self.house, self.room = house, room
        self.lesson: Lesson | None = None
        self.at = 0
        self.phase = Phase.READY
        self.problem = ""
        """Why the experiment of this scene gave no answer."""
        self.outcome = Outcome()
        self.measured: Measured | None = None
        self.sweep: RunningSweep | None = None
        """The bets of this scene, as they are trained and afterwards."""
        self._clock = clock
        self._came = 0.0  # when this scene came
        self._visit = 0  # what an earlier visit of a scene began has no say any more
        self._job: Job[None] | None = None
        self._first_job: Job[None] | None = None  # makes the picture that an unnamed what-if is asked about
        self._said: dict[str, tuple[Kind, dict[str, Any]]] = {}  # by a scene's title
        self._known: dict[str, tuple[Outcome, Measured]] = {}
        self._lock = threading.RLock()

    # ---------------------------------------------------------------- going through it

    def open(self, lesson: Lesson, at: int | None = None) -> None:
        """Open a lesson at a scene, or where it was left; one that is open there already stays as it is."""
        with self._lock:
            if self.lesson is lesson and at in (None, self.at):
                return  # a reload, or another tab: what was answered stays
            if self.lesson is not lesson:
                self._said.clear()
                self._known.clear()
            self.lesson = lesson
            left = places.read().at.get(lesson.name, 0) if at is None else at
            self.go(left if 0 <= left < len(lesson.scenes) else 0)

    def open_again(self) -> None:
        """Open the lesson that was open when the server ended; nothing where there is none, or it is gone."""
        if (name := places.read().open) is not None:
            try:
                self.open(find_lesson(name))
            except InputError:
                places.close()

    def go(self, at: int) -> None:
        """To the scene at that place, from its beginning. InputError where there is none."""
        with self._lock:
            lesson = self.lesson
            if lesson is None or not 0 <= at < len(lesson.scenes):
                raise InputError(f"there is no scene {at + 1}; open a lesson on the page Lessons")
            if self.room.hidden and self.scene is not None:
                self._said.pop(self.scene.title, None)  # what was hidden is told later neither
            self._drop()
            self.at, self.problem, self.outcome, self.measured = at, "", Outcome(), None
            self.sweep = None
            self._came = self._clock()
            places.visit(lesson.name, at)
            if (asked := self.asked) is not None:
                self.phase = Phase.OPEN
                kind, told = (
                    self._said.get(self.scene.of, (None, None)) if isinstance(self.scene, Again) else (None, None)
                )
                before = told if kind == asked.kind else None  # other options were other votes
                self.room.ask(f"{lesson.name}-{at + 1}-{self._visit}", asked.text, asked.kind, before)
                if isinstance(asked.experiment, WhatIf) and asked.experiment.unnamed:
                    self._begin(partial(self._show_unnamed, asked), "shown before")
                    self._first_job = self._job
            else:
                self.phase = Phase.READY
                self.room.end()
                if isinstance(self.scene, Do) and self.scene.experiment is None:
                    self._begin(partial(self._watch, self.scene), "task")
            self.room.touch()

    def leave(self) -> None:
        """Close the lesson; the run that it made stays."""
        with self._lock:
            self._drop()
            self.lesson, self.phase = None, Phase.READY
            self.room.end()
            places.close()
            self.room.touch()

    @property
    def scene(self) -> Scene | None:
        """The scene that is on."""
        return None if self.lesson is None else self.lesson.scenes[self.at]

    @property
    def asked(self) -> Predict | None:
        """The question of this scene."""
        return None if self.lesson is None or self.scene is None else self.lesson.asked(self.scene)

    @property
    def stage(self) -> Stage | None:
        """How far its experiment is."""
        return self._job.stage if self._job is not None and self.phase is Phase.RUNNING else None

    @property
    def chart(self) -> Chart | None:
        """What its what-if came to, as curves: named by the options until the question is closed, where these ask."""
        asked, result = self.asked, self.outcome.result
        chart = None if result is None else next((one for one in result.displays if isinstance(one, Chart)), None)
        if chart is None or asked is None or self.phase is Phase.SHOWN or not isinstance(asked.kind, Choice):
            return chart
        curves = zip(chart.curves, asked.kind.options, strict=False)
        return replace(chart, curves=tuple(replace(curve, name=option) for curve, option in curves))

    @property
    def hint(self) -> str:
        """The hint of a task that has taken a while."""
        scene = self.scene
        late = isinstance(scene, Do) and self.phase is Phase.READY and self._clock() - self._came >= scene.patience
        return scene.hint if isinstance(scene, Do) and late else ""

    # ---------------------------------------------------------------- experiments

    def run_it(self) -> None:
        """Close the question and carry out its experiment; or begin the run of a scene that only shows."""
        with self._lock:
            scene, asked = self.scene, self.asked
            if asked is not None and self.phase in (Phase.OPEN, Phase.SHOWN):
                self.room.close()
                self.phase, self.problem = Phase.RUNNING, ""
                self._begin(partial(self._answer, asked), "experiment")
            elif isinstance(scene, Look | Do) and scene.experiment is not None:
                self.phase, self.problem = Phase.READY, ""
                self._begin(partial(self._start, scene), "experiment")
            self.room.touch()

    def _begin(self, work: Callable[[Report], None], what: str) -> None:
        visit = self._visit

        def attempt(report: Report) -> None:
            try:
                work(report)
            except Cancelled:
                pass
            except InputError as error:
                self._tell(visit, problem=str(error))
            except Exception as error:  # a lesson's own mistake is shown, not swallowed
                complain(f"lesson {self.lesson.name if self.lesson else ''}: {error!r}")
                self._tell(visit, problem=f"this scene gave no answer ({type(error).__name__}: {error}); go on")

        self._job = self.house.jobs.joined((id(self), visit, what, self._clock()), attempt)

    def _show_forming(self, sweep: RunningSweep) -> None:
        self.sweep = sweep
        self.room.touch()

    def _show_unnamed(self, asked: Predict, report: Report) -> None:
        visit, outcome = self._visit, carried_out.carry_out(asked.experiment, self.house, (), report)
        with self._lock:
            if visit == self._visit:
                self.outcome = outcome
                self.room.touch()

    def _start(self, scene: Look | Do, report: Report) -> None:
        assert scene.experiment is not None
        carried_out.begin(scene.experiment, self.house, report)
        if isinstance(scene, Do):  # only from here on: the run before may have done it already
            self._watch(scene, report)

    def _answer(self, asked: Predict, report: Report) -> None:
        visit, poll = self._visit, self.room.poll
        answers = poll.answers() if poll is not None else []
        repeats = isinstance(self.scene, Again) and self.scene.twin is None
        known = self._known.get(asked.title) if repeats else None  # nothing to run once more
        if self._first_job is not None:  # it is shown before, without names
            self._first_job.follow(report)
        if known is None and self.outcome.result is not None:
            known = self.outcome, asked.measure(self.outcome)
        outcome = (
            known[0]
            if known
            else carried_out.carry_out(asked.experiment, self.house, answers, report, self._show_forming)
        )
        measured = known[1] if known else asked.measure(outcome)
        because = asked.explained(measured)
        with self._lock:
            if visit != self._visit:
                return
            self._known[asked.title] = outcome, measured
            if poll is not None and self.scene is not None:
                self._said[self.scene.title] = poll.kind, poll.told()
            self.room.reveal(measured.answer, because, reasons(asked, measured))
            if poll is not None and outcome.run is not None and outcome.run.folder is not None and not known:
                self._keep(outcome.run.folder, poll, measured)
            self.outcome, self.measured, self.phase = outcome, measured, Phase.SHOWN
            self.sweep = outcome.sweep
            self.room.touch()

    def _keep(self, folder: Path, poll: Poll, measured: Measured) -> None:
        try:
            predictions.store(folder, poll.header(), poll.told(), measured.answer)
        except InputError as error:
            complain(str(error))

    def _watch(self, task: Do, report: Report) -> None:
        visit, told = self._visit, False
        while visit == self._visit:
            report("waiting for you", 0, 0)
            run = self.house.current
            with suppress(InputError):  # there is no such number of it yet
                if run is not None and run.step and task.holds(run):
                    self._tell(visit, phase=Phase.SHOWN)
                    return
            if not told and self.hint:
                told = True
                self._tell(visit)
            time.sleep(LOOK_SECONDS)

    def _tell(self, visit: int, phase: Phase | None = None, problem: str = "") -> None:
        with self._lock:
            if visit != self._visit:
                return
            if problem:
                self.problem = problem
                phase = Phase.SHOWN if self.phase is Phase.RUNNING else phase
            self.phase = phase or self.phase
            self.room.touch()

    def _drop(self) -> None:
        self._visit += 1
        if self._job is not None:
            self._job.cancel()
        self._job = self._first_job = None


def reasons(asked: Predict, measured: Measured) -> dict[int, str]:
    """Why one may have chosen each wrong option; nothing for a question that has none."""
    if not isinstance(asked.kind, Choice):
        return {}
    told = {place: asked.reason(place, measured) for place in range(len(asked.kind.options))}
    return {place: reason for place, reason in told.items() if reason}


@cache
def lesson_under_way() -> LessonUnderWay:
    """This process's one."""
    return LessonUnderWay(run_manager(), classroom())
