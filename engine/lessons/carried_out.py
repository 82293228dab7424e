"""Carrying out a scene's experiment in the house where people watch: a run on the stage, or work beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from .. import link
from ..config import changed
from ..errors import InputError
from ..presets import preset
from ..progress import Report
from ..runs.manager import RunManager
from ..runs.run import Run
from ..stream.status import ENDED, State
from ..sweeps.sweep import RunningSweep
from .course.scene import Bets, Experiment, Outcome, Training, WhatIf
from .experiments import EXPERIMENTS, Pacer, Start

LOOK_SECONDS = 0.05


def carry_out(
    experiment: Experiment | None,
    house: RunManager,
    answers: Sequence[Any],
    report: Report,
    forming: Callable[[RunningSweep], None] = lambda sweep: None,
) -> Outcome:
    """What the experiment gave. `report` is told how far it is, and may raise to end it; a run then goes on alone.

    answers: what the room said, for bets; `forming` is told of these while they are trained. InputError where a run did
    not come to its end.
    """
    if isinstance(experiment, Training):
        run = begin(experiment, house, report)
        follow(run, house, report)
        run.paused_state()  # answered when all of the last step has been emitted
        house.pump.drain()  # its last numbers are in the history now
        return Outcome(run=run)
    if isinstance(experiment, WhatIf):
        (found,) = [one for one in EXPERIMENTS if one.name == experiment.name]
        fresh = preset("bigram")
        start = Start(fresh.config, fresh.settings, house.datasets.load_corpus(fresh.config, report=report))
        pacer = Pacer(lambda: trains(house), lambda share: report("trying it", round(1000 * share), 1000))
        return Outcome(result=found.run(start, pacer))
    if isinstance(experiment, Bets):
        sweep = running_bets(experiment, house, answers)
        forming(sweep)
        sweep.train(report)
        return Outcome(sweep=sweep)
    return Outcome()


def begin(training: Training, house: RunManager, report: Report) -> Run:
    """Start the run of a scene; the one before it stops, and `undo` brings it back."""
    planned, notices = link.read(dict(parse_qsl(training.link)))
    assert not notices, notices  # a lesson's links are tried in the tests
    return house.start(planned.config, planned.settings, replace=True, report=report)


def follow(run: Run, house: RunManager, report: Report) -> None:
    """Wait until a run has ended; InputError where it was stopped, failed, left the stage, or a knob was turned."""
    while run.state not in ENDED:
        report("training" if run.state is State.RUNNING else run.state.value, run.step, run.settings.max_steps)
        if house.current is not run:
            raise InputError("another run is on the stage now; run this one again to see what comes out")
        time.sleep(LOOK_SECONDS)
    if run.state in (State.STOPPED, State.FAILED):
        raise InputError(f"the run ended as {run.state.value} at step {run.step:,}; run it again to see what comes out")
    first = run.first_settings
    if run.settings != changed(first, speed=run.settings.speed):
        raise InputError("a knob was turned on the way, so this is another experiment; run it again as it was asked")


def running_bets(bets: Bets, house: RunManager, answers: Sequence[Any]) -> RunningSweep:
    """The bigrams with the rates that were bet, and with the scene's own."""
    sweep = bets.sweep(answers)
    return RunningSweep(sweep, house.datasets.load_corpus(sweep.config), lambda: trains(house))


def trains(house: RunManager) -> bool:
    """Is the run on the stage training? Work beside it then leaves it half of the time."""
    return house.current is not None and house.current.state is State.RUNNING
