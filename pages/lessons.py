"""Lessons: the way in for a newcomer. Each asks, trains it for real, and shows what came beside what was said."""

from __future__ import annotations

import streamlit as st

from pages.views.lessons.course import course
from pages.views.lessons.game import game
from pages.views.lessons.room_game import room_game_block
from pages.views.shared import frame
from pages.widgets.style import STYLE
from pages.widgets.tabs import tabs

ABOUT = (
    "A lesson asks before it shows: say what you think will happen, and see it trained for real beside what you said. "
    "Alone, or with a room that answers on its phones. Each takes a few minutes; later ones stand on earlier ones."
)

VIEWS = ("All lessons", "You against the model", "The room against the model")

st.html(STYLE)
frame.room_frame()
opened = tabs("Lessons", VIEWS, key="lessons_open", bind="query-params")
if opened == VIEWS[0]:
    st.markdown(ABOUT)
    course()
elif opened == VIEWS[1]:
    game()
else:
    room_game_block()
