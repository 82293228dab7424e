"""The displays of an experiment or an example: charts, grids of numbers, tables, and code with its output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from engine.lessons.results import Chart, CodeOutput, Display, Grid, Table, Tone
from pages.charts import static
from pages.charts.palette import BASELINE, ERROR, EVENT, GOOD, TRAIN, VALIDATION, Scale

COLOURS: dict[Tone, str] = {
    "usual": TRAIN,
    "changed": EVENT,
    "other": GOOD,
    "second": VALIDATION,
    "bad": ERROR,
    "reference": BASELINE,
}
HEIGHT = 340
ROW = 34
FEW = 5
"""Tables of at most this many columns stand two in a row; curves of at most so many points show each."""


def show_displays(displays: Sequence[Display], key: str) -> None:
    """Show all displays, those to be compared side by side."""
    for at, pair in enumerate(_rows(displays)):
        places = st.columns(len(pair)) if len(pair) > 1 else [st.container()]
        for nth, (place, display) in enumerate(zip(places, pair, strict=True)):
            with place:
                show_display(display, f"{key}-{at}-{nth}")


def _rows(displays: Sequence[Display]) -> Iterator[list[Display]]:
    """The displays in rows: neighbours of one type in pairs, wide ones alone."""
    row: list[Display] = []
    for display in displays:
        if row and (len(row) == 2 or type(row[0]) is not type(display) or is_wide(row[0]) or is_wide(display)):
            yield row
            row = []
        row.append(display)
    if row:
        yield row


def is_wide(display: Display) -> bool:
    """Does it need the whole width?"""
    columns = display.columns if isinstance(display, Grid | Table) else ()
    return len(columns) > (2 * FEW if isinstance(display, Grid) else FEW)


def show_display(display: Display, key: str) -> None:
    """Show one display; tokens, error messages and names of texts appear literally."""
    if isinstance(display, Chart):
        static.show(chart_figure(display), key, display.title, display.help, HEIGHT)
    elif isinstance(display, Grid):
        height = 90 + ROW * len(display.rows)
        static.show(grid_figure(display), key, display.title, display.help, height)
    elif isinstance(display, Table):
        static.heading(display.title, display.help)
        rows = [[str(cell) for cell in row] for row in display.rows]
        st.dataframe(pd.DataFrame(rows, columns=list(display.columns)), hide_index=True, key=key)
    else:
        show_error(display)


def chart_figure(chart: Chart) -> go.Figure:
    """Curves on common axes: noisy ones are thin, references are dashed."""
    figure = static.plane(chart.x_title, chart.y_title, log_x=chart.log_x, log_y=chart.log_y)
    for curve in chart.curves:
        line: dict[str, object] = {"color": COLOURS[curve.tone], "width": 1 if curve.faint else 3}
        if curve.tone == "reference":
            line |= {"dash": "dash", "width": 2}
        few = len(curve.x) <= FEW and curve.tone != "reference"
        figure.add_scatter(
            name=curve.name,
            x=list(curve.x),
            y=list(curve.y),
            mode="lines+markers" if few else "lines",
            line=line,
            marker={"size": 9},
            opacity=0.6 if curve.faint else 1.0,
            hovertemplate="%{x:.4~g}<br>%{y:.4~g}<extra>" + curve.name + "</extra>",
        )
    figure.update_layout(showlegend=len(chart.curves) > 1)
    if chart.log_x and len(chart.curves[0].x) <= FEW:
        figure.update_xaxes(tickmode="array", tickvals=list(chart.curves[0].x))
    if chart.log_y:
        figure.update_yaxes(dtick="D2", exponentformat="none")
    return figure


def grid_figure(table: Grid) -> go.Figure:
    """A tensor in colour with its numbers in the cells."""
    written = [[format_cell(cell, table.scale) for cell in row] for row in table.cells]
    return static.heatmap(
        table.cells,
        scale=table.scale,
        x=table.columns,
        y=table.rows,
        x_title=table.column_title,
        y_title=table.row_title,
        text=written,
    )


def format_cell(cell: float, scale: Scale) -> str:
    """A cell's number in few characters: a probability as .042, others with three digits, four above 100."""
    if scale == "probability":
        return f"{cell:.3f}".removeprefix("0") if round(cell, 3) < 1 else f"{cell:.3g}"
    return f"{cell:.{4 if abs(cell) >= 100 else 3}g}".replace("-", "−")


def show_error(what: CodeOutput) -> None:
    """Code, and its output or error."""
    st.code(what.code, language="python", wrap_lines=True)
    if what.kind == "no error":
        st.text(what.text or "No error.")
    else:
        st.code(f"{what.kind}: {what.text}", language=None, wrap_lines=True)
