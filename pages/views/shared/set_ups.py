"""What a page sets up when something elsewhere asks it to: a tab, an experiment, a fresh run to step through."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import streamlit as st

from engine import link
from engine.config import changed
from engine.runs.manager import run_manager

LAYER_TAB = "The 5→3 layer"  # the name of the tab on First steps
FOUR_POINTS = "preset=document-002-line&points=1,3 2,5 3,7 4,8&lr=0.1&speed=100"


def set_choices(**choices: Any) -> Callable[[], None]:
    """Set widgets of this page, by key."""
    return partial(st.session_state.update, **choices)


def open_experiment(name: str) -> Callable[[], None]:
    """Open an experiment of the Step page."""
    return set_choices(step_tab="What if", whatif_open=name)


def restart_line(query: str) -> None:
    """Restart the line of First steps."""
    planned, _ = link.read(dict(parse_qsl(query)))
    run_manager().prepare_demo("line", changed(planned.config, device="cpu"), planned.settings)
    st.session_state.part = "The line"
