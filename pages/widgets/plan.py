"""The next run as this person has planned it: preset, text, model, settings.

The engine is the truth. A session keeps only what its person has prepared and not started yet.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine import link
from engine.config import DEFAULT_CORPUS, MAX_STEPS, MOST_SHOWN, LiveSettings, RunConfig, changed
from engine.errors import InputError
from engine.presets import Preset, preset
from engine.runs.manager import run_manager
from engine.runs.run import Run, limit_to_epochs
from pages.widgets import notices, waiting


def planned() -> Preset:
    """What the next new run would be: what this person prepared, else the current run again."""
    state, run = st.session_state, run_manager().current
    if "plan" not in state:
        prepared, state.notices = link.read(st.query_params)
        state.planned = link.sets_up(st.query_params)
        state.text_chosen = st.query_params.get("corpus")
        prepare(prepared)
        state.planned = state.planned and not _is_on_stage(state.plan)  # opened anew, the link has done its work
    elif run is not None and not state.planned and run.config != state.plan.config:
        prepare(Preset(run.config, run.settings, preset(run.config.preset).about))
    prepared_plan: Preset = state.plan
    return prepared_plan


def _is_on_stage(prepared: Preset) -> bool:
    """Is the run on the stage what `prepared` would start, whatever knobs were turned since?"""
    run = run_manager().current
    if run is None or run_manager().watched is not None or run.config != prepared.config:
        return False
    return prepared.settings in (run.settings, run.first_settings)


def set_up() -> str:
    """What is planned beside the run on the stage, in a few words; empty where that is nothing else."""
    made = planned()
    if not st.session_state.planned or _is_on_stage(made):
        return ""
    return link.describe(made.config, made.settings, text_title(made.config.corpus))


def text_title(name: str) -> str:
    """What people call the text `name`."""
    try:
        return run_manager().library.entry(name).title
    except InputError:
        return name


def keep() -> None:
    """Drop what is planned: the next run is the one on the stage again."""
    st.session_state.planned = False
    if (run := run_manager().current) is not None:
        follow(run)


def prepare(prepared: Preset) -> None:
    """Plan `prepared`. A text that could be fetched but is not here is replaced by the default one, with a notice."""
    config = prepared.config
    try:
        entry = run_manager().library.entry(config.corpus)
        name = entry.name
        if entry.kind == "fetchable":
            notices.add(f"{entry.title} is not here: fetch it under New run. Until then the text is {DEFAULT_CORPUS}.")
            name = DEFAULT_CORPUS
    except InputError as error:
        notices.add(f"the corpus {config.corpus[:MOST_SHOWN]!r} was ignored: {error}")
        name = DEFAULT_CORPUS
    config = changed(config, corpus=name)
    st.session_state.plan = Preset(config, _limit(config, prepared.settings), prepared.about)


def _limit(config: RunConfig, settings: LiveSettings, anew: bool = False) -> LiveSettings:
    """For a run by epochs, `settings` with at most the iterations that these take.

    With `anew` all of them, even if `max_steps` was cut to fewer before.
    """
    if config.epochs is None:
        return settings
    try:
        dataset = run_manager().datasets.load(config, waiting.impatient())
        return limit_to_epochs(config, changed(settings, max_steps=MAX_STEPS) if anew else settings, dataset)
    except InputError:  # the estimate below the controls says what is wrong, or calls `limit_again` once it is read
        return settings


def limit_again() -> None:
    """Now that the text is read, plan no more iterations than the epochs take."""
    before = planned()
    settings = _limit(before.config, before.settings)
    if settings != before.settings:
        st.session_state.plan = Preset(before.config, settings, before.about)
        st.rerun()


def change(config: RunConfig | None = None, settings: LiveSettings | None = None) -> None:
    """Change the plan's configuration, its settings, or both."""
    before = planned()
    st.session_state.plan = Preset(config or before.config, settings or before.settings, before.about)
    st.session_state.planned = True


def follow(run: Run) -> None:
    """Plan `run` again: the controls show it, and nothing else is prepared."""
    change(config=run.config, settings=run.settings)
    st.session_state.planned = False


def settings_shown() -> LiveSettings:
    """The settings on show: the run's, unless it is over (or has not begun) and something else is planned."""
    run = run_manager().current
    if run is None or (st.session_state.planned and not run.alive):
        return planned().settings
    return run.settings


def change_setting(name: str, value: Any) -> None:
    """Change a live setting: of the running loop, or of the next run."""
    run = run_manager().current
    try:
        settings = changed(settings_shown(), **{name: value})
    except InputError as error:
        notices.add(str(error))
        return
    if run is None or (st.session_state.planned and not run.alive):
        change(settings=_limit(planned().config, settings, anew=name == "batch_size"))
    else:
        run.tune(settings)


def change_config(name: str, value: Any) -> None:
    """Change something that needs a new run."""
    try:
        config = changed(planned().config, **{name: value})
        if name == "corpus":
            st.session_state.text_chosen = value
        change(config=config, settings=_limit(config, planned().settings, anew=True))
    except InputError as error:
        notices.add(str(error))


def choose_preset(name: str) -> None:
    """Plan another preset, with all of its settings, on the text that this person has chosen, if they have."""
    now, chosen = planned().config, preset(name)
    if now.corpus == st.session_state.text_chosen != chosen.config.corpus:
        title = text_title(now.corpus)
        if not chosen.config.reads_text:
            notices.add(f"{name} learns from numbers, not from a text: {title} is set aside.")
        else:
            if chosen.config.corpus != DEFAULT_CORPUS:
                notices.add(f"The text stays {title}; {name}'s own is {text_title(chosen.config.corpus)}.")
            config = changed(chosen.config, corpus=now.corpus)
            chosen = Preset(config, chosen.settings, chosen.about)
    prepare_for_train(chosen)


def prepare_for_train(prepared: Preset) -> None:
    """Plan `prepared`; Train then says what is set up, and asks whether to start it."""
    prepare(prepared)
    st.session_state.planned = True


def replaces(run: Run) -> bool:
    """Has something else been planned, while `run` is over or has not begun?"""
    return not run.alive and (st.session_state.planned or run.config != planned().config)
