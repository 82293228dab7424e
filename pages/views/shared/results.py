"""What an experiment or an example has to show, on the page: one look for all of them. Knows no run and no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from engine.lessons.results import Chart, Exhibit, Grid, Raised, Table, Tone
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


def show_all(exhibits: Sequence[Exhibit], key: str) -> None:
    """All exhibits, those that are to be compared side by side."""
    for at, pair in enumerate(_rows(exhibits)):
        places = st.columns(len(pair)) if len(pair) > 1 else [st.container()]
        for nth, (place, exhibit) in enumerate(zip(places, pair, strict=True)):
            with place:
                show(exhibit, f"{key}-{at}-{nth}")


def _rows(exhibits: Sequence[Exhibit]) -> Iterator[list[Exhibit]]:
    """Neighbours of one kind in pairs; tables with many columns alone."""
    row: list[Exhibit] = []
    for exhibit in exhibits:
        if row and (len(row) == 2 or type(row[0]) is not type(exhibit) or wide(row[0]) or wide(exhibit)):
            yield row
            row = []
        row.append(exhibit)
    if row:
        yield row


def wide(exhibit: Exhibit) -> bool:
    """Does it need the whole width?"""
    columns = exhibit.columns if isinstance(exhibit, Grid | Table) else ()
    return len(columns) > (2 * FEW if isinstance(exhibit, Grid) else FEW)


def show(exhibit: Exhibit, key: str) -> None:
    """One exhibit; tokens, messages of errors and names of texts appear literally."""
    if isinstance(exhibit, Chart):
        static.show(lines(exhibit), key, exhibit.title, exhibit.help, HEIGHT)
    elif isinstance(exhibit, Grid):
        height = 90 + ROW * len(exhibit.rows)
        static.show(grid(exhibit), key, exhibit.title, exhibit.help, height)
    elif isinstance(exhibit, Table):
        static.heading(exhibit.title, exhibit.help)
        rows = [[str(cell) for cell in row] for row in exhibit.rows]
        st.dataframe(pd.DataFrame(rows, columns=list(exhibit.columns)), hide_index=True, key=key)
    else:
        raised(exhibit)


def lines(chart: Chart) -> go.Figure:
    """Curves on common axes: what scatters is thin, what is compared with is dashed."""
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


def grid(table: Grid) -> go.Figure:
    """A tensor in colour with its numbers in the cells."""
    written = [[number(cell, table.scale) for cell in row] for row in table.cells]
    return static.heatmap(
        table.cells,
        scale=table.scale,
        x=table.columns,
        y=table.rows,
        x_title=table.column_title,
        y_title=table.row_title,
        text=written,
    )


def number(cell: float, scale: Scale) -> str:
    """A cell's number, short: a probability as .042, others with three digits, a fourth above 100."""
    if scale == "probability":
        return f"{cell:.3f}".removeprefix("0") if round(cell, 3) < 1 else f"{cell:.3g}"
    return f"{cell:.{4 if abs(cell) >= 100 else 3}g}".replace("-", "−")


def raised(what: Raised) -> None:
    """Code, and what came of it."""
    st.code(what.code, language="python", wrap_lines=True)
    if what.kind == "no error":
        st.text(what.text or "No error.")
    else:
        st.code(f"{what.kind}: {what.text}", language=None, wrap_lines=True)
