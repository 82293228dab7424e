"""What is set up beside the run on the stage, by a link or a button, and whether to start it."""

from __future__ import annotations

import streamlit as st

from engine.runs.manager import run_manager
from engine.stream.status import State
from pages.widgets import actions, plan
from pages.widgets.over import over


def set_up_card() -> None:
    """The question, over the board's own headline; nothing where nothing else is set up, or nothing is on the stage."""
    house = run_manager()
    if (house.watched is None and house.current is None) or not (words := plan.set_up()):
        return
    with over("set_up"), st.container(horizontal=True, vertical_alignment="center", gap="small", key="set_up"):
        with st.container(gap=None, width="stretch"):
            st.text(f"{words} is set up. Start it?")
            if then := consequence():
                st.caption(then)
        st.button("Start it", key="set_up_start", type="primary", on_click=actions.confirm, args=("start",))
        st.button("Keep this one", key="set_up_keep", on_click=plan.keep)


def consequence() -> str:
    """What becomes of that which is under way, if the new run is started."""
    house, told = run_manager(), []
    if house.watched is not None:
        told.append("The run on show goes on where it is trained.")
    if house.current is not None and house.current.alive:
        own = "This server's own run" if house.watched is not None else "The run on the stage"
        told.append(f"{own} then stops; undo brings it back.")
    if house.race is not None and house.race.state is State.RUNNING:
        told.append("The race is held.")
    return " ".join(told)


def hint() -> str | None:
    """The line over the recorded example, while there is no run: what Start will start, if something is set up."""
    words = plan.set_up()
    return f"{words} is set up. Press Start. Until then, an example: a recorded run." if words else None
