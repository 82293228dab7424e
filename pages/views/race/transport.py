"""Start, pause, single steps, stop; the question before a run under way is paused; iterations and speed."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine.config import changed
from engine.errors import InputError
from engine.runs.manager import run_manager
from engine.runs.races.race import Race
from engine.stream.status import State
from pages.views.race.plan import first_step, shared_settings, start_kind, start_race
from pages.widgets import fields, notices, plan
from pages.widgets.icon_button import icon_button
from pages.widgets.over import over
from pages.widgets.play_button import play_button


def play(verb: str) -> None:
    """Start, pause or resume, as the button was labelled when it was drawn: a click that comes late does no harm."""
    race = run_manager().race
    if verb == "Start":
        start_race(start_kind())
    elif race is not None and verb == "Pause":
        race.pause()
    elif race is not None and race.state is State.PAUSED:
        race.start()


def make_steps(count: int) -> None:
    """Make a few steps in each lane; the first of a new race if this one is over."""
    race = run_manager().race
    if race is None or not race.alive:
        start_race(start_kind(), steps=count)
    else:
        race.make_steps(count)


def change_setting(name: str, value: Any) -> None:
    """Change iterations or speed, of the race under way and of the next one."""
    race = run_manager().race
    try:
        if race is not None and race.alive:
            race.tune(**{name: value})
        changed(plan.planned().settings, **{name: value})
        if name == "max_steps" and value <= first_step() and (race is None or not race.alive):
            raise InputError(f"{value:,} iterations are not possible: the race begins at step {first_step():,}")
        st.session_state.race_shared[name] = value
    except InputError as error:
        notices.add(str(error))


def play_label(race: Race | None) -> str:
    """What the large button does now."""
    if race is not None and race.state is State.RUNNING:
        return "Pause"
    return "Resume" if race is not None and race.state is State.PAUSED else "Start"


def transport(race: Race | None) -> None:
    """Start, pause, resume; steps by hand; stop."""
    asking = "race_asking" in st.session_state
    with st.container(key="asks_at_verbs"):
        _transport(race, asking)
        answers("verbs")


def _transport(race: Race | None, asking: bool) -> None:
    play_button(
        play_label(race),
        play,
        key="race_play",
        disabled=asking,
        primary=race is not None,
        help="Start, pause, resume all lanes. Key: space.",
    )
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="verbs"):
        one_step(asking)
        st.button(
            "+10", key="race_ten", disabled=asking, on_click=make_steps, args=(10,), help="Ten steps in each lane."
        )
        icon_button(
            "Stop",
            "race_stop",
            ":material/stop:",
            disabled=asking or race is None or not race.alive,
            on_click=race.stop if race is not None else None,
            help="Stop: end this race.",
        )


def brief_transport(race: Race | None) -> None:
    """What a lesson needs of it, in the presenter's bar: each lane has a learning rate of its own."""
    asking = "race_asking" in st.session_state
    play_button(play_label(race), play, key="race_play", disabled=asking, help=None, width="content")
    one_step(asking)
    fields.speed_list(settings_now(race)["speed"], change_setting, name="race_speed")
    with st.container(key="answers"):
        answers("verbs")


def one_step(asking: bool) -> None:
    """Make one step in each lane."""
    st.button(
        "+1",
        key="race_one",
        shortcut="Right",
        disabled=asking,
        on_click=make_steps,
        args=(1,),
        help="One step in each lane. Key: →",
    )


def answers(place: str) -> None:
    """What a button in the container `place` asks."""
    if "race_asking" in st.session_state and st.session_state.get("race_asked_at", "verbs") == place:
        confirmation()


def confirmation() -> None:
    """Something trains: pause it and race, or cancel; over what stands below the button that was pressed."""
    kind, steps, about = st.session_state.race_asking
    with over("button"):
        st.text(f"{about}. Hold it and race? What it has made is kept.")
        yes, no = st.columns(2)
        yes.button("Hold it", type="primary", on_click=start_race, args=(kind, True, steps), width="stretch")
        no.button("Cancel", on_click=lambda: st.session_state.pop("race_asking"), width="stretch")


def steps_and_speed(race: Race | None) -> None:
    """Iterations and speed of all lanes."""
    now = settings_now(race)
    fields.whole_number("max_steps", now["max_steps"], change_setting, label="iterations (steps)", key="race_steps")
    fields.speed(now["speed"], change_setting, "speed limit, steps/s of each lane", "race_speed", explained=False)


def settings_now(race: Race | None) -> dict[str, Any]:
    """What all lanes have in common: of the race under way, else of the next one."""
    return race.settings.model_dump() if race is not None and race.alive else shared_settings()
