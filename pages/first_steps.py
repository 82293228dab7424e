"""First steps: a line through a few points, and the 5→3 logistic layer of document 002. Holds no training state.

The line trains live beside the room's run; editing its points starts it again from step 0. A session keeps its table of
points, in which cells may still be empty.
"""

from __future__ import annotations

import streamlit as st

from engine.text.points import read_points
from pages.board.board import board, shown_of
from pages.charts.static import presenting
from pages.views.first_steps import exact_solution, logistic_layer
from pages.views.first_steps.controls import brief_transport, rate_and_speed, transport
from pages.views.first_steps.line_run import line_run
from pages.views.first_steps.points_table import points_table
from pages.views.lessons.course import lessons_about
from pages.views.shared import frame
from pages.widgets.style import STYLE
from pages.widgets.tabs import tabs

TABS = ("The line", "The 5→3 layer")
ABOUT = """
Here a line, y = ax + b, learns to go through a few points. Its **loss** is the mean squared distance, in y, between
the line and the points. The **gradient** is the slope of the loss in a and in b: it points to where the loss rises
fastest, and each step moves a and b a little the opposite way. Press Start and watch both the line and its loss.
"""


@st.fragment
def live_line() -> None:
    """The live part: points and knobs at the left, the board beside them."""
    lane = line_run()
    if st.session_state.line_drawn != lane.config.points:
        st.rerun(scope="app")  # somebody else changed the points, and what stands below is about the old ones
    shown = shown_of(lane, moment=True)
    if presenting():
        with frame.bar():
            brief_transport(lane)
        board("first-steps", run="line", shown=shown)
        return
    with st.container(key="present_only"):
        frame.present_button()
    left, right = st.columns([2, 9], gap="small")
    with left.container(key="controls"):
        transport(lane)
        with st.container(key="more"):
            points_table(lane)
            rate_and_speed(lane)
    with right:
        board("first-steps", run="line", shown=shown)


def page() -> None:
    """The page."""
    st.html(STYLE)
    if tabs("what to look at", TABS, "part") == TABS[0]:
        st.markdown(ABOUT)
        st.session_state.line_drawn = line_run().config.points
        live_line()
        exact_solution.show(read_points(st.session_state.line_drawn))
    else:
        frame.room_frame()
        logistic_layer.show()
    lessons_about("first_steps")


page()
