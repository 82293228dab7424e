"""A button on a lesson that opens Train with a preset prepared; nothing is started."""

from __future__ import annotations

import streamlit as st

from engine.presets import preset
from pages.widgets import plan


def open_on_train_button(name: str) -> None:
    """Open Train with the preset `name` planned; a run under way goes on, and Train asks about it."""
    if st.button("Open on Train", key=f"to_train-{name}", icon=":material/arrow_forward:", help=HELP):
        plan.prepare_for_train(preset(name))
        st.switch_page("train.py", query_params={"preset": name})


HELP = "Opens Train with this preset prepared. Nothing starts, and no run under way is stopped, until you say so."
