"""Race: lanes from one start, each with its own change, trained in turn and shown together; and sweeps over a knob.

Holds no training state: the engine runs the race. A session keeps only the set-up of its next one.
"""

from __future__ import annotations

from typing import Literal

import streamlit as st

from engine.runs.manager import run_manager
from engine.runs.races.race import Race
from pages.board.board import Shown, board, shown_of
from pages.charts.static import presenting
from pages.views.race import results
from pages.views.race.plan import start_learning_rate_race, start_optimizer_race
from pages.views.race.setup import race_setup
from pages.views.race.sweep import sweep_section
from pages.views.race.transport import answers, brief_transport, steps_and_speed, transport
from pages.views.shared import frame
from pages.widgets import notices, plan
from pages.widgets.style import STYLE
from pages.widgets.tabs import tabs

TABS = ("Race", "Sweep")
ABOUT = """
**A race** trains two to four lanes side by side: the same model, text, seed and batches, and one change in each. All
lanes stand at the same step, so whatever differs between them comes from that change. The losses are equal, bit for
bit, up to the first step that the change can reach.

The ready-made race asks the first question of every training: **how large should the learning rate be?** Four
lanes of a bigram under AdamW, at 3e-4, 1e-2, 1 and 10. When they are through, a picture says what each of them did.
"""


def introduction() -> None:
    """Before the first race: what a race is, and one obvious button."""
    st.markdown(ABOUT)
    with st.container(key="asks_at_race_starts"):
        with st.container(horizontal=True, key="race_starts"):
            learning_rate_button("Race the learning rates 3e-4, 1e-2, 1 and 10", "primary", "starts")
            optimizer_button()
        answers("starts")
    results.example()


def learning_rate_button(label: str, kind: Literal["primary", "secondary"], place: str) -> None:
    """Start the ready-made race of learning rates; what it asks is asked at `place`."""
    st.button(
        label,
        key="race_ready",
        type=kind,
        icon=":material/flag:",
        disabled="race_asking" in st.session_state,
        on_click=start_learning_rate_race,
        args=(place,),
        help="3e-4, 1e-2, 1 and 10: a bigram, AdamW, from the same first weights. It ends in a picture.",
        width="stretch" if kind == "secondary" else "content",
    )


def optimizer_button() -> None:
    """Start the ready-made race of optimizers."""
    st.button(
        "Race SGD, AdamW and Muon",
        key="race_optimizers",
        icon=":material/flag:",
        disabled="race_asking" in st.session_state,
        on_click=start_optimizer_race,
        args=("starts",),
        help="The small GPT, 600 steps each from the same first weights: SGD with momentum 0.9 at 0.1, AdamW at 1e-2, "
        "Muon at 5e-3.",
    )


def open_on_compare(race: Race) -> None:
    """Open Compare with the lanes chosen."""
    st.session_state.compared = [lane.id for lane in race.lanes]
    st.switch_page("compare.py")


def live_board(race: Race | None, shown: Shown) -> None:
    """The board, above it what a race is if there is none, and below it what the last one has shown."""
    if race is None:
        introduction()
    for lane in race.lanes if race is not None else ():
        if lane.error:
            st.code(lane.error, language=None)
    board("race", run="race", shown=shown)
    if race is not None and not race.alive:
        results.show(race)  # below: the curves stay where they were, and as large


@st.fragment
def page() -> None:
    """The page."""
    race = run_manager().race
    shown = shown_of(race, moment=True)
    plan.planned()
    st.html(STYLE)
    if presenting():
        with frame.bar():
            brief_transport(race)
    else:
        with st.container(key="present_only"):
            frame.present_button()
    if tabs("what to look at", TABS, "race_tab") == TABS[1]:
        notices.show()
        sweep_section()
    else:
        lanes_view(race, shown)


def lanes_view(race: Race | None, shown: Shown) -> None:
    """The race under way, or the next one: its controls, and its board."""
    if presenting():
        notices.show()
        live_board(race, shown)
        return
    left, right = st.columns([2, 9], gap="small")
    with left.container(key="controls"):
        with st.container():  # what comes and goes here builds none of the controls anew: their keys work throughout
            notices.show()
        transport(race)
        with st.container(key="more"):
            steps_and_speed(race)
            race_setup(race)
            if race is not None:
                with st.container(key="asks_at_ready"):
                    learning_rate_button("The learning rates", "secondary", "ready")
                    answers("ready")
                on_compare = st.button(
                    "The lanes on Compare", key="race_compare", icon=":material/arrow_forward:", width="stretch"
                )
                if on_compare:
                    open_on_compare(race)
    with right:
        live_board(race, shown)


page()
