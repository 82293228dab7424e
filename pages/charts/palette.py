"""The colours of all charts and the size of their type.

Colours are those of the dark stage; each has a twin for light paper.
"""

from __future__ import annotations

from typing import Any, Literal

TRAIN = "#56B4E9"
VALIDATION = "#E69F00"
BASELINE = "#8FA1B3"
HEALTHY = "rgba(0,158,115,0.15)"
# From the input to the output of a network: ordered and readable with any colour vision (a piece of cividis).
LAYERS = ("#6B7FB8", "#7D8BA8", "#8D979B", "#9FA38F", "#B3AF82", "#C8BC72", "#DDCB5C", "#F3DA3F")
FIGURE_FONT = 14

Scale = Literal["signed", "probability"]

GRID = "#253140"
TEXT = "#E8EEF4"
PANEL = "#131A22"
EVENT = "#CC79A7"
ERROR = "#FF6B4A"
GOOD = "#3FBF9B"

# Each colour of the dark stage and its twin on light paper, as in theme.js (a test holds the two together).
TWINS = {
    "#56B4E9": "#0072B2",
    "#E69F00": "#B86E00",
    BASELINE: "#5B6B7A",
    EVENT: "#A8407C",
    "rgba(0,158,115,0.15)": "rgba(0,158,115,0.12)",
    GOOD: "#00704F",
    ERROR: "#C43D1B",
    PANEL: "#F5F7F9",
    TEXT: "#15202B",
    GRID: "#D9E0E6",
}
SCALES: dict[Scale, dict[str, list[list[Any]]]] = {
    "signed": {
        "dark": [[0, "#9AD7FF"], [0.25, "#2F7FB8"], [0.5, "#131A22"], [0.75, "#B8642F"], [1, "#FFC693"]],
        "light": [[0, "#083F7C"], [0.25, "#62A6D2"], [0.5, "#F5F7F9"], [0.75, "#EFA15B"], [1, "#8F3F00"]],
    },
    "probability": {
        "dark": [[0, "#131A22"], [0.05, "#1C4364"], [0.2, "#2E7FB3"], [0.5, "#7CC8F0"], [1, "#F2FAFF"]],
        "light": [[0, "#F5F7F9"], [0.05, "#CFE3F1"], [0.2, "#79B4DA"], [0.5, "#0072B2"], [1, "#062B48"]],
    },
}
