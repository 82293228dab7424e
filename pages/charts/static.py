"""Static charts, for a page that shows one moment of a run. (The live board's charts are in `Panel`s.)

Figures are plain Plotly, written in the colours of the dark stage; `show` puts one on the page in the page's theme,
with its title and two sentences of help.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas  # noqa: F401  # whole before any figure: Plotly trips over one that another session is just importing
import plotly.graph_objects as go
import plotly.io
import streamlit as st
from numpy.typing import ArrayLike

from pages.charts.palette import FIGURE_FONT, SCALES, TWINS, Scale, Theme, colours

WIDE = """<style>
.st-key-KEY_wide { overflow-x: auto; }
.st-key-KEY_wide > [data-testid="stElementContainer"] { min-width: WIDTHpx; }
</style>"""
LARGER = 1.4
"""How much larger type is in presenter mode, on every page and in every chart."""
FONT = '"Source Sans", sans-serif'
"""The typeface of pages and charts, which Streamlit serves. The board asks the page around it for it."""
# What is left of Plotly's tools is the picture; Streamlit adds the one that fills the screen.
PICTURE: dict[str, Any] = {
    "displaylogo": False,
    "modeBarButtonsToRemove": [
        "zoom2d",
        "pan2d",
        "select2d",
        "lasso2d",
        "zoomIn2d",
        "zoomOut2d",
        "autoScale2d",
        "resetScale2d",
    ],
}
_VISIBLE = str.maketrans({" ": "␣", "\n": "↵", "\r": "↵", "\t": "⇥"})
_LITERAL = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})

plotly.io.templates.default = None  # Streamlit sets its own: each figure would carry it, and `themed` take it away


def theme() -> Theme:
    """The theme of the page, now."""
    return "light" if st.context.theme.type == "light" else "dark"


def presenting() -> bool:
    """Is this session in presenter mode?"""
    return bool(st.session_state.get("presenter", False))


def visible(token: str) -> str:
    """A token with its blanks as signs, for a label on the page."""
    return token.translate(_VISIBLE)


def literal(text: str) -> str:
    """Text for use inside a Plotly figure, where < and & would be read as markup."""
    return visible(text).translate(_LITERAL)


def heatmap(
    z: ArrayLike,
    *,
    scale: Scale,
    x: Sequence[str] | None = None,
    y: Sequence[str] | None = None,
    x_title: str = "",
    y_title: str = "",
    limit: float | None = None,
    text: Sequence[Sequence[str]] | None = None,
) -> go.Figure:
    """A table (rows, cols) in colour: rows from top to bottom, `x` and `y` the tokens or names on its axes.

    A signed scale is centred on 0 and ends at ±`limit` (by default the largest size there is); a probability's goes
    from 0 to 1. `text` is written into the cells.
    """
    cells = np.asarray(z, np.float64)
    end = 1.0 if scale == "probability" else limit or float(np.abs(cells[np.isfinite(cells)]).max(initial=0)) or 1.0
    figure = go.Figure(
        go.Heatmap(
            z=cells,
            zmin=0 if scale == "probability" else -end,
            zmax=end,
            colorscale=SCALES[scale]["dark"],
            text=text,
            texttemplate="%{text}" if text is not None else None,
            textfont={"size": FIGURE_FONT},
            colorbar={"thickness": 10, "outlinewidth": 0, "nticks": 5, "exponentformat": "power"},
            hovertemplate="%{y}, %{x}<br>%{z:.4~g}<extra></extra>",
        )
    )
    for axis, names, size in (("xaxis", x, cells.shape[1]), ("yaxis", y, cells.shape[0])):
        labels = [literal(name) for name in names] if names is not None else [str(i) for i in range(size)]
        every = max(1, len(labels) // 48)
        at = list(range(0, size, every))
        figure.layout[axis].update(tickmode="array", tickvals=at, ticktext=[labels[i] for i in at], showgrid=False)
    figure.update_layout(
        xaxis={"title": {"text": x_title}, "side": "bottom"},
        yaxis={"title": {"text": y_title}, "autorange": "reversed"},
    )
    return figure


def plane(x_title: str, y_title: str, *, log_x: bool = False, log_y: bool = False) -> go.Figure:
    """An empty chart with titled axes. An axis holds numbers, or names where it is not logarithmic."""
    return go.Figure(
        layout={
            "xaxis": {
                "title": {"text": x_title},
                "type": "log" if log_x else "-",
                "separatethousands": True,
                "minexponent": 6,  # 5,000 rather than 5k
            },
            "yaxis": {"title": {"text": y_title}, "type": "log" if log_y else "-", "exponentformat": "power"},
        }
    )


def enlarged(part: Any, scale: float) -> Any:
    """A figure's JSON with the size of every font in it `scale` times as large."""
    if isinstance(part, list):
        return [enlarged(item, scale) for item in part]
    if not isinstance(part, dict):
        return part
    grown = {key: enlarged(value, scale) for key, value in part.items()}
    for key, value in grown.items():
        if key.endswith("font") and isinstance(value, dict) and isinstance(value.get("size"), int | float):
            value["size"] *= scale
    return grown


def merged(part: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`part` with `more` on top, level by level."""
    both = part | more
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(part.get(key), dict):
            both[key] = merged(part[key], value)
    return both


def themed(figure: go.Figure, name: Theme, scale: float = 1.0, layout: dict[str, Any] | None = None) -> go.Figure:
    """A copy in the theme `name`: its colours, one typeface and size, a transparent background, a quiet grid.

    All type is `scale` times as large; `layout` comes on top. The copy is put together as plain JSON, since Plotly's
    figures check every value at each change, which takes several times as long as all the rest.
    """
    size = FIGURE_FONT * scale
    written = figure.to_json()
    if name == "light":
        for sides in SCALES.values():  # first: a scale has colours of the palette in it
            written = written.replace(json.dumps(sides["dark"], separators=(",", ":")), json.dumps(sides["light"]))
        for dark, light in TWINS.items():
            written = written.replace(dark, light)
    copy = enlarged(json.loads(written), scale)
    grid, quiet, text = (colours(name)[meaning] for meaning in ("grid", "baseline", "text"))
    axis = {
        "gridcolor": grid,
        "linecolor": grid,
        "zerolinecolor": grid,
        "tickfont": {"size": size, "color": quiet},
        "title": {"font": {"size": size, "color": quiet}, "standoff": 6},
        "automargin": True,
    }
    axes = {"xaxis", "yaxis", *(key for key in copy["layout"] if key.startswith(("xaxis", "yaxis")))}
    look = {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": size, "color": text, "family": FONT},
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "separators": ".,",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "left", "x": 0},
        "hoverlabel": {"font": {"size": size, "family": FONT}},
        **dict.fromkeys(sorted(axes), axis),
    }
    bar = {"colorbar": {"tickfont": {"size": size, "color": quiet}}}
    return go.Figure(
        data=[merged(trace, bar) if trace["type"] == "heatmap" else trace for trace in copy["data"]],
        layout=merged(merged(copy["layout"], look), layout or {}),
    )


def show(
    figure: go.Figure,
    key: str,
    title: str,
    help: str,
    height: int = 320,
    picture: str | None = None,
    least_width: int = 0,
    on_select: Callable[[], None] | None = None,
) -> None:
    """Put a figure on the page: its title with a "?" that says how to read it, and the chart. Titles are constants.

    A button above the chart saves it as a PNG named `picture` (by default after its key). It appears under the pointer,
    or always if there is a `picture`. On a screen narrower than `least_width` pixels the chart scrolls sideways.
    `on_select` is called when a point is clicked; which one stands in the session under `key`.
    """
    heading(title, help)
    scale = LARGER if presenting() else 1.0
    ground, quiet = (colours(theme())[meaning] for meaning in ("background", "baseline"))
    layout: dict[str, Any] = {
        "paper_bgcolor": ground,
        "margin": {"t": 30},  # room for the button, which a touch screen always shows
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": quiet},
    }
    config = PICTURE | {
        "displayModeBar": True if picture else "hover",
        "toImageButtonOptions": {"format": "png", "filename": picture or key.replace("_", "-"), "scale": 2},
    }
    if least_width:
        layout["dragmode"] = False  # a finger that moves along it scrolls
        st.html(WIDE.replace("KEY", key).replace("WIDTH", str(least_width)))
    with st.container(key=f"{key}_wide") if least_width else nullcontext():
        drawn = themed(figure, theme(), scale, layout)
        st.plotly_chart(
            drawn,
            key=key,
            theme=None,
            height=round(height * scale),
            config=config,
            alt=title,
            on_select=on_select or "ignore",
            selection_mode="points",
        )


def heading(title: str, help: str) -> None:
    """The title over a chart or a table, with its "?"."""
    st.markdown(f"##### {title}", help=help)
