"""Compare: all stored runs as a table, the curves of two to six of them on one chart, and the details of one.

Everything is read from the run folders. A session keeps which runs are chosen and how they are drawn.
"""

from __future__ import annotations

import streamlit as st

from engine.paths import home
from engine.runs.manager import run_manager
from engine.storage.index import overviews
from pages.board.board import board, shown_of
from pages.views.compare import run_panel
from pages.views.compare.overlays import overlays, read_curves
from pages.views.compare.runs_table import runs_table
from pages.views.compare.side_by_side import side_by_side
from pages.views.shared import frame
from pages.views.train import external_run
from pages.widgets import notices, plan
from pages.widgets.style import STYLE

# Streamlit's own CSV of a table would write names such as "=1+1" as formulas.
OWN_STYLE = """<style>
[data-testid="stElementToolbar"] button[aria-label^="Download as CSV"] { display: none; }
</style>"""


@st.fragment
def page() -> None:
    """The page."""
    if st.session_state.pop("to_train", False):
        st.switch_page("train.py")
    st.html(STYLE + OWN_STYLE)
    plan.planned()
    frame.room_bar(run_manager().current)
    with st.container(key="header"):
        board("compare", shown=shown_of(run_manager().current))
    notices.show_once()
    run_panel.deleted_runs()
    external_run.offer_to_watch("to_train")
    shown = overviews()
    if not shown:
        st.text(f"No runs yet in {home() / 'runs'}. Start one on Train: all of them are kept here.")
        return
    left, right = frame.columns(7, 2)
    with left:
        chosen = runs_table(shown)
        drawn = read_curves(chosen)
        if drawn:
            overlays(drawn)
        if len(drawn) > 1:
            side_by_side(drawn)
    with right:
        run_panel.run_panel(chosen, shown)


page()
