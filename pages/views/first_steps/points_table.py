"""The points as a table to edit: a valid change starts a new line at step 0."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from engine.errors import InputError
from engine.runs.run import Run
from engine.text.points import read_points, write_points
from pages.charts import static
from pages.views.first_steps.line_run import line_preset, restart

Row = tuple[float | None, float | None]
FOURTH = (4.0, 8.0)


def session_table(lane: Run) -> tuple[int, list[Row], str]:
    """This session's table: its generation (for the widget's key), its rows, and the points last seen.

    It starts anew if somebody else has changed the points.
    """
    state = st.session_state
    generation, rows, seen = state.get("line_table", (0, [], ""))
    if seen != lane.config.points:
        generation, rows, seen = generation + 1, list(read_points(lane.config.points)), lane.config.points
        state.line_table = generation, rows, seen
    return generation, rows, seen


def parse_rows(rows: list[Row]) -> list[tuple[float, float]]:
    """The rows as points; InputError names the first one that has a number missing."""
    pairs = []
    for at, (x, y) in enumerate(rows, 1):
        if x is None or y is None:
            lacks = "no numbers" if x is y else f"no {'x' if x is None else 'y'}"
            raise InputError(f"row {at} has {lacks} yet; fill it in or delete it, until then the line keeps its points")
        pairs.append((x, y))
    return read_points(write_points(pairs))


def replace_rows(rows: list[Row]) -> None:
    """Start the table anew from `rows`."""
    generation, _, seen = st.session_state.line_table
    st.session_state.line_table = generation + 1, rows, seen


def add_fourth_point() -> None:
    """Add the point that document 002 adds later."""
    replace_rows([*st.session_state.line_rows, FOURTH])


def restore_three_points() -> None:
    """Restore the three points of document 002."""
    replace_rows([*read_points(line_preset().config.points)])


def points_table(lane: Run) -> None:
    """Edit the points; a valid change makes a new line at step 0 and reruns the page."""
    generation, rows, _ = session_table(lane)
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
        st.button("Add (4, 8)", on_click=add_fourth_point, help="The point that document 002 adds later.")
        st.button("The three points", on_click=restore_three_points, help="(1, 3), (2, 5) and (3, 7) again.")
    try:
        points = write_points(parse_rows(st.session_state.line_rows))
        if read_points(points) != read_points(lane.config.points):
            restart(points)
            st.session_state.line_table = generation, rows, points
            st.rerun(scope="app")
    except InputError as error:
        st.text(str(error))
