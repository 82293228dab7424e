"""Lessons: the way in for a newcomer. Each asks, trains it for real, and shows what came beside what was said."""

from __future__ import annotations

import streamlit as st

from pages.views.lessons.course import course
from pages.views.shared import frame
from pages.widgets.style import STYLE

ABOUT = (
    "A lesson asks before it shows: say what you think will happen, and see it trained for real beside what you said. "
    "Alone, or with a room that answers on its phones. Each takes a few minutes; later ones stand on earlier ones."
)

st.html(STYLE)
frame.room_frame()
st.markdown(ABOUT)
course()
