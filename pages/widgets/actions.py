"""What a person at the controls can do: plan a run, turn its knobs, start, step, reset, sample.

The engine is the truth. All that a session keeps is what its person has prepared but not started, and the notices not
yet closed. Knows no layout.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine import link
from engine.config import DEFAULT_CORPUS, MAX_STEPS, MOST_SHOWN, LiveSettings, RunConfig, changed
from engine.errors import InputError
from engine.presets import Preset, preset
from engine.runs.manager import RunActive, run_manager
from engine.runs.run import Run, limit_to_epochs
from engine.stream.status import ENDED, State


def plan() -> Preset:
    """What the next new run would be: what this person prepared, else the current run again."""
    state, run = st.session_state, run_manager().current
    if "plan" not in state:
        prepared, state.notices = link.read(st.query_params)
        state.planned = bool(st.query_params)
        keep(prepared)
    elif run is not None and not state.planned and run.config != state.plan.config:
        keep(Preset(run.config, run.settings, preset(run.config.preset).about))
    prepared_plan: Preset = state.plan
    return prepared_plan


def keep(prepared: Preset) -> None:
    """Keep a plan; a text that can be fetched but is not here gives way to the default one, and it is said."""
    config = prepared.config
    try:
        entry = run_manager().library.entry(config.corpus)
        name = entry.name
        if entry.kind == "fetchable":
            say(f"{entry.title} is not here: fetch it under New run. Until then the text is {DEFAULT_CORPUS}.")
            name = DEFAULT_CORPUS
    except InputError as error:
        say(f"the corpus {config.corpus[:MOST_SHOWN]!r} was ignored: {error}")
        name = DEFAULT_CORPUS
    config = changed(config, corpus=name)
    st.session_state.plan = Preset(config, counted(config, prepared.settings), prepared.about)


def counted(config: RunConfig, settings: LiveSettings, anew: bool = False) -> LiveSettings:
    """By epochs, at most the iterations that they make; `anew` also raises a number that was cut before."""
    if config.epochs is None:
        return settings
    try:
        return limit_to_epochs(
            config, changed(settings, max_steps=MAX_STEPS) if anew else settings, run_manager().dataset(config)
        )
    except InputError:  # the estimate below the controls says what is wrong
        return settings


def say(sentence: str) -> None:
    """Show a notice until it is closed."""
    st.session_state.notices = [*st.session_state.get("notices", []), sentence]


def replan(config: RunConfig | None = None, settings: LiveSettings | None = None) -> None:
    """Change the next run's plan."""
    before = plan()
    st.session_state.plan = Preset(config or before.config, settings or before.settings, before.about)
    st.session_state.planned = True


def knobs() -> LiveSettings:
    """The settings on show: the run's, unless it is over (or not begun) and something else is planned."""
    run = run_manager().current
    if run is None or (st.session_state.planned and not run.alive):
        return plan().settings
    return run.settings


def turn(name: str, value: Any) -> None:
    """A knob was turned: on the running loop, or for the next run."""
    run = run_manager().current
    try:
        settings = changed(knobs(), **{name: value})
    except InputError as error:
        say(str(error))
        return
    if run is None or (st.session_state.planned and not run.alive):
        replan(settings=counted(plan().config, settings, anew=name == "batch_size"))
    else:
        run.tune(settings)


def restructure(name: str, value: Any) -> None:
    """Something that needs a new run was changed."""
    try:
        config = changed(plan().config, **{name: value})
        replan(config=config, settings=counted(config, plan().settings, anew=True))
    except InputError as error:
        say(str(error))


def take_preset(name: str) -> None:
    """Another preset: all of its settings, for the next run."""
    keep(preset(name))
    st.session_state.planned = True


def lay_out(prepared: Preset) -> None:
    """A plan that Train opens with; if a run is under way, Train asks at once whether to stop that one."""
    keep(prepared)
    st.session_state.planned = True
    run = run_manager().current
    if run is not None and run.alive:
        about = f"{prepared.config.preset} is set up, and {run.title} is {run.state.value} at step {run.step:,}"
        st.session_state.asking = "start", about


def attempt(action: str) -> None:
    """Start or reset; a run under way is asked about first. The panel of the new run closes."""
    st.session_state.panel = st.session_state.get("panel", 0) + 1
    try:
        ACTIONS[action](replace=False)
    except RunActive as active:
        st.session_state.asking = action, str(active)
    except InputError as error:
        say(str(error))


def go_ahead(action: str) -> None:
    """The person said: end the run and do it."""
    st.session_state.pop("asking", None)
    try:
        ACTIONS[action](replace=True)
    except InputError as error:
        say(str(error))


def start_new(replace: bool) -> None:
    """A new run from the plan."""
    run = run_manager().current
    planned = plan()
    settings = planned.settings if st.session_state.planned or run is None else run.settings
    run_manager().start(planned.config, settings, replace)
    st.session_state.planned = False


def reset(replace: bool) -> None:
    """The same run from its first weights; what the page shows is that run again."""
    run = run_manager().reset(replace)
    replan(config=run.config, settings=run.settings)
    st.session_state.planned = False


def rewind() -> None:
    """Out of a divergence: a fork from before it, at half the learning rate."""
    try:
        run = run_manager().rewind()
        replan(config=run.config, settings=run.settings)
        st.session_state.planned = False
    except InputError as error:
        say(str(error))


ACTIONS = {"start": start_new, "reset": reset}


def play(verb: str) -> None:
    """The big button, with the verb it was drawn with: a click that comes too late changes nothing."""
    run = run_manager().current
    if verb == "Pause":
        if run is not None:
            run.pause()
    elif run is None or run.state in ENDED or replaced(run):
        attempt("start")
    elif run.state is not State.RUNNING:
        run.start()


def replaced(run: Run) -> bool:
    """Has something else been planned, while this run has not begun or is over?"""
    return not run.alive and (st.session_state.planned or run.config != plan().config)


def steps(count: int) -> None:
    """One step, or a few, by hand; the first of a new run if none can go on."""
    run = run_manager().current
    over = run is not None and run.state in (State.DONE, State.STOPPED) and not st.session_state.planned
    if run is not None and over and run.step >= run.settings.max_steps:
        say(f"This run is done at step {run.step:,}: raise the iterations to go on, or press Start for a new one.")
        return
    if run is None or run.state in (State.DIVERGED, State.FAILED) or replaced(run):
        try:
            run = run_manager().prepare(plan().config, knobs())
        except InputError as error:
            say(str(error))
            return
        st.session_state.planned = False
    run.make_steps(count)


def sample() -> None:
    """Text from the model of this moment; it appears in the samples, for everyone."""
    run, state = run_manager().current, st.session_state
    if run is None:
        say("there is no model to sample from yet; press Start first")
        return
    try:
        run.sample(state.prompt, state.max_new_tokens, state.temperature, state.top_k or None, state.sample_seed)
    except InputError as error:
        say(str(error))


def bring_back() -> None:
    """The previous run becomes the current one again."""
    try:
        run = run_manager().undo()
        replan(config=run.config, settings=run.settings)
        st.session_state.planned = False
    except InputError as error:
        say(str(error))
