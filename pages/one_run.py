"""One stored run: going on with it. Knows no list and no charts."""

from __future__ import annotations

import sqlite3

import streamlit as st

from engine.config import InputError
from engine.overview import Overview
from engine.studio import RunActive, studio
from pages.live import verbs


def panel(chosen: list[Overview]) -> None:
    """One of the chosen runs, opened."""
    if not chosen:
        st.text("Select one run to open it, two to six to compare them.")
        return
    one = chosen[0]
    if len(chosen) > 1:
        names = {shown.run.id: shown.name for shown in chosen}
        picked = st.selectbox("run", list(names), format_func=lambda run: names[run], key="compare_one")
        one = next(shown for shown in chosen if shown.run.id == picked)
    st.text(f"{one.name}\n{one.run.standing}")
    continuing(one)


# -------------------------------------------------------------------- going on


def continuing(one: Overview) -> None:
    """The way back onto the stage; a run under way is asked about first."""
    run, house = one.run, studio()
    if "asking_resume" in st.session_state and st.session_state.asking_resume[0] == run.id:
        question(run.id)
    elif house.current is not None and house.current.id == run.id:
        st.button("Show it on Train", key="show", icon=":material/arrow_forward:", width="stretch", on_click=to_train)
    elif house.previous is not None and house.previous.id == run.id:
        st.text("It is the run before the current one, kept open.")
        st.button("Bring it back", key="bring_back", icon=":material/undo:", width="stretch", on_click=bring_back)
    elif run.live:
        st.text("Another process is writing this run. Stop it there, then it can be continued here.")
    elif run.reason is None:
        st.button(
            "Continue this run",
            key="continue",
            type="primary",
            icon=":material/play_arrow:",
            width="stretch",
            on_click=go_on,
            args=(run.id, False),
            help="Opens it on Train, paused at its newest snapshot. Later steps are made again, bit for bit.",
        )


def question(name: str) -> None:
    """Another run is under way: stop that one and go on with this, or cancel."""
    with st.container(border=True):
        st.text(f"{st.session_state.asking_resume[1]}. Stop it and continue this one?")
        yes, no = st.columns(2)
        yes.button("Stop it", key="resume_yes", type="primary", on_click=go_on, args=(name, True), width="stretch")
        no.button(
            "Cancel", key="resume_no", on_click=lambda: st.session_state.pop("asking_resume", None), width="stretch"
        )


def go_on(name: str, replace: bool) -> None:
    """Make a stored run the current one; what stands against it is asked or said."""
    st.session_state.pop("asking_resume", None)
    try:
        run = studio().resume(name, replace)
    except RunActive as active:
        st.session_state.asking_resume = name, str(active)
    except InputError as error:
        verbs.say(str(error))
    except (OSError, sqlite3.Error) as error:
        verbs.say(f"run {name} cannot be continued: its folder cannot be read or written ({error})")
    else:
        verbs.replan(config=run.config, settings=run.settings)
        st.session_state.planned = False
        to_train()


def bring_back() -> None:
    """The run before the current one becomes the current one again."""
    verbs.bring_back()
    to_train()


def to_train() -> None:
    """Open Train once this click has been seen to: a callback cannot switch pages."""
    st.session_state.to_train = True


def deleted() -> None:
    """Runs that were deleted and can be brought back."""
