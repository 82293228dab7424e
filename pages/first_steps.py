"""First steps: a line through a few points, and the 5→3 logistic layer of document 002. Holds no training state.

The line trains live in a lane of the engine, beside the room's run; who edits its points makes a new lane at step 0.
What a session keeps is its table of points, which may have cells that are no numbers yet.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from engine.analysis.least_squares import largest_stable_lr
from engine.config import changed
from engine.errors import InputError
from engine.presets import Preset, preset
from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.stream.status import ENDED, State
from engine.text.points import read_points, write_points
from pages.board.board import board, shown_of
from pages.charts import static
from pages.charts.palette import ERROR, HEALTHY, TRAIN
from pages.views.first_steps import exact_solution, logistic_layer
from pages.views.shared.try_this import try_this
from pages.widgets import fields
from pages.widgets.style import STYLE

Row = tuple[float | None, float | None]

FOURTH = (4.0, 8.0)
SPEEDS = (1, 10, 100)
OVER = 1.05  # of the largest stable rate: unstable enough to be seen within a few dozen steps
TABS = ("The line", "The 5→3 layer")
ABOUT = """
Here a line, y = ax + b, learns to go through a few points. Its **loss** is the mean squared distance, in y, between
the line and the points. The **gradient** is the slope of the loss in a and in b: it points to where the loss rises
fastest, and each step moves a and b a little the opposite way. Press Start and watch both the line and its loss.
"""


def start_of() -> Preset:
    """How the line begins: document 002's points. Two weights are nothing for a GPU to do."""
    start = preset("document-002-line")
    return Preset(changed(start.config, device="cpu"), start.settings, start.about)


def the_lane() -> Run:
    """The line that is on show for everybody, made where there is none yet."""
    start = start_of()
    return run_manager().run_named("line") or run_manager().prepare_demo("line", start.config, start.settings)


# -------------------------------------------------------------------- what a person can do


def renew(points: str | None = None, **knobs: Any) -> Run:
    """The line again from step 0, with other points or knobs where given."""
    before = the_lane()
    config = changed(before.config, points=points or before.config.points)
    return run_manager().prepare_demo("line", config, changed(before.settings, **knobs))


def play(verb: str) -> None:
    """The big button, with the verb it was drawn with: a click that comes too late changes nothing."""
    lane = the_lane()
    if verb == "Pause":
        lane.pause()
    elif lane.state in ENDED:
        renew().start()
    elif lane.state is not State.RUNNING:
        lane.start()


def back_to_start() -> None:
    """The same line from step 0."""
    renew()


def one_step() -> None:
    """One step by hand; the first of a new run if this one is over."""
    lane = the_lane()
    (renew() if lane.state in ENDED else lane).make_steps(1)


def turn(name: str, value: Any) -> None:
    """A knob of the running line was turned."""
    lane = the_lane()
    try:
        lane.tune(changed(lane.settings, **{name: value}))
    except InputError as error:
        st.session_state.line_refused = str(error)
    else:
        st.session_state.pop("line_refused", None)


def notch(up: int) -> None:
    """The learning rate a notch up or down."""
    turn("lr", fields.notch(the_lane().settings.lr, up))


def overstep(lr: float) -> None:
    """From step 0 with a learning rate just above the largest stable one, slow enough to watch."""
    renew(lr=lr, speed=10).start()


# -------------------------------------------------------------------- the points


def table_of(lane: Run) -> tuple[int, list[Row], str]:
    """This session's table: a number that changes with what it starts from, its rows, and the points last seen.

    The table starts anew where somebody else has changed the points.
    """
    state = st.session_state
    generation, rows, seen = state.get("line_table", (0, [], ""))
    if seen != lane.config.points:
        generation, rows, seen = generation + 1, list(read_points(lane.config.points)), lane.config.points
        state.line_table = generation, rows, seen
    return generation, rows, seen


def pairs_of(rows: list[Row]) -> list[tuple[float, float]]:
    """Rows of the table as points; InputError names the first that is not one."""
    pairs = []
    for at, (x, y) in enumerate(rows, 1):
        if x is None or y is None:
            lacks = "no numbers" if x is y else f"no {'x' if x is None else 'y'}"
            raise InputError(f"row {at} has {lacks} yet; fill it in or delete it, until then the line keeps its points")
        pairs.append((x, y))
    return read_points(write_points(pairs))


def put(rows: list[Row]) -> None:
    """Start the table anew from `rows`."""
    generation, _, seen = st.session_state.line_table
    st.session_state.line_table = generation + 1, rows, seen


def add_fourth() -> None:
    """The new data of document 002, below what stands in the table."""
    put([*st.session_state.line_rows, FOURTH])


def back_to_three() -> None:
    """The table of document 002."""
    put([*read_points(start_of().config.points)])


def points_table(lane: Run) -> None:
    """The points, to be edited; a change that makes sense is a new line at step 0, and the page is drawn again."""
    generation, rows, _ = table_of(lane)
    static.heading(
        "Points", "Each row is one example: an input x and the output y it should give. Every change starts anew."
    )
    number = st.column_config.NumberColumn
    edited = st.data_editor(
        pd.DataFrame(rows, columns=["x", "y"], dtype="float64"),
        key=f"points-{generation}",
        num_rows="dynamic",
        hide_index=True,
        height=178,
        column_config={"x": number("input x", format="%g"), "y": number("output y", format="%g")},
    )
    cells = [[None if pd.isna(cell) else float(cell) for cell in row] for row in edited.to_numpy()]
    st.session_state.line_rows = [(x, y) for x, y in cells]
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="points_row"):
        st.button("Add (4, 8)", on_click=add_fourth, help="The point that document 002 adds later.")
        st.button("The three points", on_click=back_to_three, help="(1, 3), (2, 5) and (3, 7) again.")
    try:
        points = write_points(pairs_of(st.session_state.line_rows))
        if read_points(points) != read_points(lane.config.points):
            renew(points)
            st.session_state.line_table = generation, rows, points
            st.rerun(scope="app")
    except InputError as error:
        st.text(str(error))


# -------------------------------------------------------------------- the line, live


def transport(lane: Run) -> None:
    """Start and pause, one step, reset."""
    running, paused = lane.state is State.RUNNING, lane.state is State.PAUSED
    label = "Pause" if running else "Resume" if paused else "Start again" if lane.state in ENDED else "Start"
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="line_verbs"):
        st.button(
            label,
            key="line_play",
            type="secondary" if running else "primary",
            icon=":material/pause:" if running else ":material/play_arrow:",
            shortcut="Space",
            on_click=play,
            args=(label,),
            help="Start, pause, resume. Key: space.",
        )
        st.button("+1", key="line_one", shortcut="Right", on_click=one_step, help="One step. Key: →")
        st.button(
            "",
            key="line_reset",
            icon=":material/replay:",
            shortcut="Backspace",
            on_click=back_to_start,
            help="Back to step 0: a = b = 0. Key: Backspace.",
        )


def knobs(lane: Run) -> None:
    """Learning rate and speed of the running line, and how high the rate may be."""
    fields.learning_rate(lane.settings.lr, turn, notch)
    if "line_refused" in st.session_state:
        st.text(st.session_state.line_refused)
    most = largest_stable_lr(read_points(lane.config.points))
    static.show(
        rates(lane.settings.lr, most),
        "line_rates",
        "How high it may be",
        "The dot is the learning rate, on a logarithmic axis; the line is the largest stable one, 2 divided by the "
        "steepest curvature of the loss. In the green the line settles; beyond it, it swings further out at each step.",
        height=130,
    )
    st.caption(f"Largest stable: {most:.4g}. Above this the line swings further out at each step.")
    tried = float(f"{OVER * most:.3g}")
    st.button(f"Try just above it: {tried:g}", key="overstep", on_click=overstep, args=(tried,), width="stretch")
    key, start = fields.follow("line_speed", lane.settings.speed)
    st.segmented_control(
        "speed, steps/s",
        sorted({*SPEEDS, start}, key=str),
        default=start,
        key=key,
        required=True,
        help="How many steps a second, so that one can follow. It changes no number.",
        on_change=fields.told("line_speed", key, "speed", turn),
        width="stretch",
    )


def rates(lr: float, most: float) -> go.Figure:
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


@st.fragment
def the_line() -> None:
    """The live part: points and knobs at the left, the board beside them."""
    lane = the_lane()
    if st.session_state.line_drawn != lane.config.points:
        st.rerun(scope="app")  # somebody else changed the points, and what stands below is about the old ones
    shown = shown_of(lane, moment=True)
    left, right = st.columns([2, 9], gap="small")
    with left.container(key="controls"):
        transport(lane)
        with st.container(key="more"):
            points_table(lane)
            knobs(lane)
    with right:
        board("first-steps", run="line", shown=shown)


def main() -> None:
    """The page."""
    st.html(STYLE)
    line, layer = st.tabs(TABS, key="part", on_change="rerun")
    if line.open:
        with line:
            st.markdown(ABOUT)
            st.session_state.line_drawn = the_lane().config.points
            the_line()
            exact_solution.show(read_points(st.session_state.line_drawn))
    if layer.open:
        with layer:
            logistic_layer.show()
    try_this("First steps")


main()
