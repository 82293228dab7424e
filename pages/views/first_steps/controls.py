"""Start, one step, reset, learning rate and speed of the line, and how high the rate may be."""

from __future__ import annotations

import math

import plotly.graph_objects as go
import streamlit as st

from engine.analysis.least_squares import largest_stable_lr
from engine.runs.run import Run
from engine.stream.status import ENDED, State
from engine.text.points import read_points
from pages.charts import static
from pages.charts.palette import ERROR, HEALTHY, TRAIN
from pages.views.first_steps.line_run import change_setting, make_step, play, reset, start_unstable, step_rate
from pages.widgets import fields
from pages.widgets.icon_button import icon_button
from pages.widgets.play_button import play_button

SPEEDS = (1, 10, 100)
OVER = 1.05  # of the largest stable rate: unstable enough to be seen within a few dozen steps


def transport(lane: Run) -> None:
    """Start and pause, one step, reset."""
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="line_verbs"):
        verbs(lane)


def brief_transport(lane: Run) -> None:
    """What a lesson needs, in the presenter's bar."""
    verbs(lane)
    fields.exact_rate(lane.settings.lr, change_setting, step_rate)
    fields.speed_list(lane.settings.speed, change_setting, SPEEDS, name="line_speed")


def verbs(lane: Run) -> None:
    """Start and pause, one step, reset."""
    running, paused = lane.state is State.RUNNING, lane.state is State.PAUSED
    label = "Pause" if running else "Resume" if paused else "Start again" if lane.state in ENDED else "Start"
    play_button(label, play, key="line_play", help="Start, pause, resume. Key: space.", width="content")
    st.button("+1", key="line_one", shortcut="Right", on_click=make_step, help="One step. Key: →")
    icon_button(
        "Reset",
        "line_reset",
        ":material/replay:",
        shortcut="Backspace",
        on_click=reset,
        help="Back to step 0: a = b = 0. Key: Backspace.",
    )


def rate_and_speed(lane: Run) -> None:
    """Learning rate and speed of the running line, and how high the rate may be."""
    fields.learning_rate(lane.settings.lr, change_setting, step_rate)
    if "line_refused" in st.session_state:
        st.text(st.session_state.line_refused)
    most = largest_stable_lr(read_points(lane.config.points))
    static.show(
        rate_figure(lane.settings.lr, most),
        "line_rates",
        "Largest stable rate",
        "The dot is the learning rate, on a logarithmic axis; the line is the largest stable one, 2 divided by the "
        "steepest curvature of the loss. In the green the line settles; beyond it, it swings further out at each step.",
        height=130,
    )
    st.caption(f"Largest stable: {most:.4g}. Above this the line swings further out at each step.")
    tried = float(f"{OVER * most:.3g}")
    st.button(f"Try just above it: {tried:g}", key="overstep", on_click=start_unstable, args=(tried,), width="stretch")
    key, start = fields.tracked("line_speed", lane.settings.speed)
    st.segmented_control(
        "speed, steps/s",
        sorted({*SPEEDS, start}, key=str),
        default=start,
        key=key,
        required=True,
        help="How many steps a second, so that one can follow. It changes no number.",
        on_change=fields.change_handler("line_speed", key, "speed", change_setting),
        width="stretch",
    )


def rate_figure(lr: float, most: float) -> go.Figure:
    """The learning rate on a logarithmic axis, against the largest stable one."""
    low, high = min(lr, most / 100) / 2, max(lr, most * 10) * 2
    figure = static.plane("learning rate", "", log_x=True)
    figure.add_vrect(low, most, fillcolor=HEALTHY, line_width=0)
    figure.add_vline(most, line={"color": ERROR, "width": 3})
    figure.add_scatter(
        x=[lr],
        y=[0],
        mode="markers",
        marker={"color": TRAIN, "size": 14},
        hovertemplate="learning rate %{x:.4~g}<extra></extra>",
    )
    figure.update_layout(showlegend=False)
    figure.update_xaxes(dtick=1, range=[math.log10(low), math.log10(high)])
    figure.update_yaxes(visible=False, range=[-1, 1], fixedrange=True)
    return figure
