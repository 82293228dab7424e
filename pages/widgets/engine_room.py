"""The engine room: all panels and knobs of the stage, where a beginner sees the few that tell the story.

A link may carry the choice (`stage=engine-room`), the browser keeps it in a cookie, and a session holds it.
"""

from __future__ import annotations

import streamlit as st

from engine.link import STAGE

STATE_KEY = "engine_room"
COOKIE = "loopscope_stage"
ENGINE_ROOM = "engine-room"
CHOICES = ("beginner", ENGINE_ROOM)


def in_engine_room() -> bool:
    """Does this session see everything? The link decides, then what this browser chose last; at first it does not."""
    if STATE_KEY not in st.session_state:
        asked = st.query_params.get(STAGE)
        st.session_state[STATE_KEY] = (asked if asked in CHOICES else st.context.cookies.get(COOKIE)) == ENGINE_ROOM
    return bool(st.session_state[STATE_KEY])


def switch() -> None:
    """The switch between both."""
    st.toggle(
        "Engine room",
        in_engine_room(),
        key="engine_room_switch",
        on_change=_switched,
        help="Everything: gradient norms, update sizes, all knobs, new runs, forks and notes.",
    )


def _switched() -> None:
    st.session_state[STATE_KEY] = st.session_state.engine_room_switch
    st.query_params.pop(STAGE, None)  # from now on the choice counts, not the link
