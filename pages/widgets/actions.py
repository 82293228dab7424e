"""What a person at the controls can do with the room's run: start, pause, step, reset, rewind, sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import streamlit as st

from engine.errors import InputError
from engine.progress import Cancelled, Job, Report
from engine.runs.manager import RunActive, run_manager
from engine.runs.run import Run
from engine.stream.status import ENDED, State
from pages.widgets import notices, plan, waiting


class Action(NamedTuple):
    """Something that makes another run the current one."""

    work: Callable[[Report], Run]
    then: Callable[[Run], None]
    """What follows in this session."""


class Question(NamedTuple):
    """Whether to stop what is under way, for the sake of an action."""

    action: str
    about: str
    """What is under way."""
    place: str
    """Where it was asked for: the answer is given there."""


def request(action: str, place: str = "verbs") -> None:
    """Start or reset; if a run is under way, the page asks first, at `place`. The panel of the new run closes."""
    _perform(action, place, replace=False)


def confirm(action: str) -> None:
    """The answer was yes: stop the run and do it."""
    _perform(action, "verbs", replace=True)


def close_panels() -> None:
    """Close what is folded out: the new run's settings, the experiments to try."""
    st.session_state.panel = st.session_state.get("panel", 0) + 1


def asked(*places: str) -> Question | None:
    """The question that is open at one of these places, or anywhere; one that needs no answer any more is dropped."""
    state, house = st.session_state, run_manager()
    question: Question | None = state.get("asking")
    if question is not None and not any(source is not None and source.alive for source in (house.current, house.race)):
        question = None
        del state.asking
    return question if question is None or not places or question.place in places else None


def _perform(name: str, place: str, replace: bool) -> None:
    action = ACTIONS[name](replace)
    st.session_state.pop("asking", None)

    def done(job: Job[Run]) -> None:
        try:
            if finish(job, action.then):
                close_panels()
        except RunActive as active:
            st.session_state.asking = Question(name, str(active), place)

    waiting.begin(action.work, done)


def finish(job: Job[Run], then: Callable[[Run], None]) -> bool:
    """Go on with the run that the job has made. False where there is none; a notice says why."""
    try:
        run = job.result()
    except Cancelled:  # this person did it
        return False
    except InputError as error:
        notices.add(str(error))
        return False
    then(run)
    return True


def start_new(replace: bool) -> Action:
    """Start a new run from the plan."""
    run, state = run_manager().current, st.session_state
    planned = plan.planned()
    settings = planned.settings if state.planned or run is None else run.settings
    return Action(
        lambda report: run_manager().start(planned.config, settings, replace, report),
        lambda _: state.update(planned=False),
    )


def reset(replace: bool) -> Action:
    """Make the same run again from its first weights."""
    return Action(lambda _: run_manager().reset(replace), plan.follow)


ACTIONS = {"start": start_new, "reset": reset}


def switch_to(make: Callable[[], Run]) -> bool:
    """Show the run that `make` makes the current one. False where it cannot be made; a notice says why."""
    try:
        run = make()
    except InputError as error:
        notices.add(str(error))
        return False
    plan.follow(run)
    return True


def rewind(lr: float) -> None:
    """Out of a divergence: fork from before it, with the learning rate `lr`."""
    switch_to(lambda: run_manager().rewind(lr))


def undo() -> None:
    """Make the previous run the current one again."""
    switch_to(run_manager().undo)


def play(label: str) -> None:
    """Start, pause or resume, as the button was labelled when it was drawn: a click that comes late does no harm."""
    run = run_manager().current
    if label == "Pause":
        if run is not None:
            run.pause()
    elif run is None or run.state in ENDED or plan.replaces(run):
        request("start")
    elif run.state is not State.RUNNING:
        run.start()


def make_steps(count: int) -> None:
    """Make a few steps by hand: of the run, or of a new one where it cannot go on."""
    run = run_manager().current
    over = run is not None and run.state in (State.DONE, State.STOPPED) and not st.session_state.planned
    if run is not None and over and run.step >= run.settings.max_steps:
        notices.add(
            f"This run is done at step {run.step:,}: raise the iterations to go on, or press Start for a new one."
        )
        return
    if run is None or run.state in (State.DIVERGED, State.FAILED) or plan.replaces(run):
        state, planned, settings = st.session_state, plan.planned(), plan.settings_shown()

        def begin(made: Run) -> None:
            state.planned = False
            made.make_steps(count)

        waiting.begin(
            lambda report: run_manager().prepare(planned.config, settings, report=report),
            lambda job: finish(job, begin),
        )
        return
    run.make_steps(count)


def sample() -> None:
    """Sample from the model as it is now; the text appears among the samples, for everyone."""
    run, state = run_manager().current, st.session_state
    if run is None:
        notices.add("there is no model to sample from yet; press Start first")
        return
    try:
        run.sample(state.prompt, state.max_new_tokens, state.temperature, state.top_k or None, state.sample_seed)
    except InputError as error:
        notices.add(str(error))
