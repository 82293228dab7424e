"""The script that each session runs: the page's frame and the way between pages. Holds no state."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

st.set_page_config(
    page_title="Loopscope",
    layout="wide",
    menu_items={"About": "Loopscope: watch a neural network learn, live."},
)
st.logo(Path(__file__).parent / "live" / "logo.svg", size="large")
st.navigation([st.Page("train.py", title="Train", default=True)], position="top").run()
