"""What a person at the controls can do with the room's run: start, pause, step, reset, rewind, sample."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from engine.errors import InputError
from engine.runs.manager import RunActive, run_manager
from engine.runs.run import Run
from engine.stream.status import ENDED, State
from pages.widgets import notices, plan


def request(action: str) -> None:
    """Start or reset; if a run is under way, the page asks first. The panel of the new run closes."""
    st.session_state.panel = st.session_state.get("panel", 0) + 1
    try:
        ACTIONS[action](replace=False)
    except RunActive as active:
        st.session_state.asking = action, str(active)
    except InputError as error:
        notices.add(str(error))


def confirm(action: str) -> None:
    """The answer was yes: stop the run and do it."""
    st.session_state.pop("asking", None)
    try:
        ACTIONS[action](replace=True)
    except InputError as error:
        notices.add(str(error))


def start_new(replace: bool) -> None:
    """Start a new run from the plan."""
    run = run_manager().current
    planned = plan.planned()
    settings = planned.settings if st.session_state.planned or run is None else run.settings
    run_manager().start(planned.config, settings, replace)
    st.session_state.planned = False


def reset(replace: bool) -> None:
    """Make the same run again from its first weights."""
    plan.follow(run_manager().reset(replace))


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


def rewind() -> None:
    """Out of a divergence: fork from before it, at half the learning rate."""
    switch_to(run_manager().rewind)


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
        try:
            run = run_manager().prepare(plan.planned().config, plan.settings_shown())
        except InputError as error:
            notices.add(str(error))
            return
        st.session_state.planned = False
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
