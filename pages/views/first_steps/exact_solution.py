"""A line through points without training: solved from two points, by least squares, and other polynomials."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from engine.analysis.least_squares import FORMS, Fit, Point, fit_polynomial, line_through, residuals, xy_arrays
from engine.errors import InputError
from pages.charts import static
from pages.charts.palette import TEXT, TRAIN
from pages.widgets.open_on_train import open_on_train_button

CONTEXT = """
**Counting.** Here each step uses all the points, so one step is one pass over the data: an *epoch*. Document 002 writes
"iterations (epochs)" as if the two were always the same. As soon as a step sees only a part of the data they differ: at
32 windows of 8 characters, a text of a million characters takes about 3,900 steps to an epoch.
"""
FOUR = """
Document 002 adds (4, 8), finds that y = 2x + 1 says 9 there, and concludes that the assumed form is wrong. It may be;
it need not be. Either the points are a line and a little **noise**, and then the line of least squares is the best
guess; or the **form** is wrong, and then a bend fits better. A form with more weights always comes closer, and one with
as many weights as there are points goes through all of them, whatever they are. So a smaller error on these points
decides nothing: only new points could.
"""


def show(pairs: list[Point]) -> None:
    """The part below the live board, for these points."""
    st.markdown(CONTEXT)
    open_on_train_button("document-002-line")
    st.divider()
    left, right = st.columns([2, 3], gap="large")
    with left:
        two_points(pairs)
    with right:
        forms(pairs)


@st.fragment
def two_points(pairs: list[Point]) -> None:
    """Solve a and b from two chosen points, and check them on the others."""
    static.heading(
        "Solved from two points",
        "Two points settle a and b by arithmetic alone. Where the other points fit too, all of them lie on that line; "
        "a healthy check says 0 in the last column.",
    )
    if len(pairs) < 2:
        st.text("One point is not enough: any number of lines go through it. Add a second one.")
        return
    names = [f"{at}: ({x:g}, {y:g})" for at, (x, y) in enumerate(pairs, 1)]
    choices = range(len(pairs))
    first, second = st.columns(2)
    one = first.selectbox("first point", choices, 0, format_func=names.__getitem__, key=f"first-{len(pairs)}")
    other = second.selectbox("second point", choices, 1, format_func=names.__getitem__, key=f"second-{len(pairs)}")
    (x1, y1), (x2, y2) = pairs[one], pairs[other]
    try:
        a, b = line_through(pairs[one], pairs[other])
    except InputError as error:
        st.text(str(error))
        return
    st.code(
        f"a = (y2 - y1) / (x2 - x1) = ({y2:g} - {y1:g}) / ({x2:g} - {x1:g}) = {a:.6g}\n"
        f"b = y1 - a * x1 = {y1:g} - {a:.6g} * {x1:g} = {b:.6g}",
        language=None,
        wrap_lines=True,
    )
    missed = residuals(pairs, a, b)
    scale = 1e-9 * max(1.0, *(abs(y) for _, y in pairs))
    rows = [
        {
            "point": names[at],
            "y": y,
            "ax + b": a * x + b,
            "y − (ax + b)": zero_if_tiny(missed[at], scale),
            "": "used" if at in (one, other) else "fits" if abs(missed[at]) <= scale else "missed",
        }
        for at, (x, y) in enumerate(pairs)
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")


def forms(pairs: list[Point]) -> None:
    """The polynomials that the points determine, each by least squares, with its residuals."""
    static.heading(
        "Least squares, and other forms",
        "Of each form, the one with the least mean squared error (MSE), and its residuals: what it misses at each "
        "point. Healthy residuals scatter around 0 without a pattern; a bend that they all follow is a wrong form.",
    )
    found: dict[str, Fit] = {}
    for degree, form in enumerate(FORMS):
        try:
            found[form] = fit_polynomial(pairs, degree)
        except InputError as error:
            st.text(f"{form.capitalize()}: {error}.")
            break  # what a form lacks, the next one lacks too
    places = st.container(key="forms").columns(len(FORMS))
    for place, (form, one) in zip(places, found.items(), strict=False):
        with place:
            static.show(form_figure(pairs, one), f"form-{form}", form.capitalize(), HELP[form], height=190)
            st.text(f"MSE {mean_squared_error(pairs, one):.4g}\n{formula(one)}")
    table = pd.DataFrame(
        {form: [zero_if_tiny(r, 1e-9 * scale_of(pairs)) for r in one.residuals] for form, one in found.items()}
    )
    table.insert(0, "point", [f"({x:g}, {y:g})" for x, y in pairs])
    st.dataframe(table, hide_index=True, width="stretch", height=38 + 35 * min(len(pairs), 6))
    if "line" in found and mean_squared_error(pairs, found["line"]):
        st.markdown(FOUR)
        told = [f"{form} {mean_squared_error(pairs, one):.4g}" for form, one in found.items()]
        st.text(f"Mean squared error on these {len(pairs)} points, computed: {', '.join(told)}.")
    elif "line" in found:
        st.markdown("All these points lie on one line. Add (4, 8) above and see what the forms make of it.")


HELP = {
    "constant": "The same y for every x: the mean. Healthy only where x says nothing about y.",
    "line": "y = ax + b, where gradient descent is heading. Healthy where the residuals have no pattern.",
    "quadratic": "A line with one bend, three weights. Healthy where it also fits points that it was not made from.",
    "cubic": "Two bends, four weights: through four points it always fits, which proves nothing about a fifth.",
}


def form_figure(pairs: list[Point], one: Fit) -> go.Figure:
    """A form over the points, with its residuals."""
    x, y = xy_arrays(pairs)
    room = 0.2 * float(np.ptp(x)) or 1.0
    along = np.linspace(x.min() - room, x.max() + room, 80)
    figure = static.plane("x", "y")
    figure.add_scatter(
        x=np.repeat(x, 3).tolist(),
        y=[cell for at, target in pairs for cell in (target, float(one.polynomial(at)), None)],
        mode="lines",
        line={"color": TRAIN, "width": 2, "dash": "dot"},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=along, y=one.polynomial(along), mode="lines", line={"color": TRAIN, "width": 3}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"color": TEXT, "size": 9},
        customdata=one.residuals,
        hovertemplate="(%{x}, %{y})<br>residual %{customdata:.4~g}<extra></extra>",
    )
    return figure.update_layout(showlegend=False)


def formula(one: Fit) -> str:
    """y = 1.5 + 1.7 x, constant first."""
    limit = 1e-9 * max(1.0, *map(abs, one.coefficients))
    terms = [
        f"{zero_if_tiny(c, limit):+.4g}" + ("", " x", " x²", " x³")[power] for power, c in enumerate(one.coefficients)
    ]
    return "y = " + " ".join(terms).removeprefix("+").replace("+", "+ ").replace("-", "− ")


def mean_squared_error(pairs: list[Point], one: Fit) -> float:
    """The mean squared error, 0 where only the rounding of float64 is left of it."""
    return zero_if_tiny(one.mean_squared_error, (1e-9 * scale_of(pairs)) ** 2)


def scale_of(pairs: list[Point]) -> float:
    """The largest size of y, at least 1."""
    return max(1.0, *(abs(y) for _, y in pairs))


def zero_if_tiny(value: float, limit: float) -> float:
    """`value`, or 0 where its size is below `limit`."""
    return 0.0 if abs(value) < limit else value
