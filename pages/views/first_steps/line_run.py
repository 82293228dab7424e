"""The line that trains in a lane of the engine, and what a person can do with it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine.config import changed
from engine.errors import InputError
from engine.presets import Preset, preset
from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.stream.status import ENDED, State
from pages.widgets import fields


def line_preset() -> Preset:
    """The line's preset: document 002's points, on the CPU, since two weights are too few for a GPU."""
    start = preset("document-002-line")
    return Preset(changed(start.config, device="cpu"), start.settings, start.about)


def line_run() -> Run:
    """The line that everybody sees; made if there is none yet."""
    start = line_preset()
    return run_manager().run_named("line") or run_manager().prepare_demo("line", start.config, start.settings)


def restart(points: str | None = None, **knobs: Any) -> Run:
    """Make the line anew at step 0, with other points or settings where given."""
    before = line_run()
    config = changed(before.config, points=points or before.config.points)
    return run_manager().prepare_demo("line", config, changed(before.settings, **knobs))


def play(verb: str) -> None:
    """Start, pause or resume, as the button was labelled when it was drawn: a click that comes late does no harm."""
    lane = line_run()
    if verb == "Pause":
        lane.pause()
    elif lane.state in ENDED:
        restart().start()
    elif lane.state is not State.RUNNING:
        lane.start()


def reset() -> None:
    """Go back to step 0."""
    restart()


def make_step() -> None:
    """Make one step by hand; the first of a new run if this one is over."""
    lane = line_run()
    (restart() if lane.state in ENDED else lane).make_steps(1)


def change_setting(name: str, value: Any) -> None:
    """Change a live setting of the line."""
    lane = line_run()
    try:
        lane.tune(changed(lane.settings, **{name: value}))
    except InputError as error:
        st.session_state.line_refused = str(error)
    else:
        st.session_state.pop("line_refused", None)


def step_rate(up: int) -> None:
    """Move the learning rate one step up (1) or down (-1)."""
    change_setting("lr", fields.next_rate(line_run().settings.lr, up))


def start_unstable(lr: float) -> None:
    """Start from step 0 with a learning rate just above the largest stable one, slow enough to watch."""
    restart(lr=lr, speed=10).start()
