"""The palette: Python and the board show the same colours, and so does what cannot read it."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from pages.charts.palette import LAYERS, SCALES, TWINS, Theme, colours
from pages.charts.static import themed
from tests.board.node import node

ROOT = Path(__file__).resolve().parents[2]
THEMES: tuple[Theme, Theme] = ("dark", "light")
HEX = re.compile(r"#[0-9A-Fa-f]{6}\b")

# What the board shows: its themes, its scales, and a figure repainted.
SHOWN = """
import { colourScale, properties, repaint, theme } from "%s";
const figure = JSON.parse(process.argv[1]);
const both = (shown) => Object.fromEntries(["dark", "light"].map((name) => [name, shown(name)]));
console.log(JSON.stringify({
  themes: both(theme),
  properties: both((name) => Object.fromEntries(properties(theme(name)))),
  scales: both((name) => [colourScale("signed", name), colourScale("probability", name)]),
  figures: both((name) => repaint(figure, name)),
}));
"""

# A setting of .streamlit/config.toml and the colour of the palette that it repeats.
SETTINGS = {
    "primaryColor": "train",
    "backgroundColor": "background",
    "secondaryBackgroundColor": "panel",
    "textColor": "text",
    "linkColor": "train",
    "borderColor": "border",
    "codeBackgroundColor": "panel",
    "codeTextColor": "text",
    "blueColor": "train",
    "orangeColor": "validation",
    "violetColor": "event",
    "greenColor": "running",
    "redColor": "error",
    "grayColor": "baseline",
}


def everything() -> go.Figure:
    """A figure with every colour of the dark stage in it."""
    figure = go.Figure()
    for colour in [*colours("dark").values(), *LAYERS]:
        figure.add_scatter(x=[1], y=[1], line={"color": colour})
    return figure


@pytest.fixture(scope="module")
def board() -> dict[str, Any]:
    """What theme.js makes of the palette."""
    script = SHOWN % (ROOT / "pages/board/charts/theme.js").as_uri()
    command = [node(), "--input-type=module", "--eval", script, everything().to_json()]
    shown: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return shown


def drawn(figure: Any) -> list[str]:
    return [trace["line"]["color"] for trace in figure["data"]]


@pytest.mark.parametrize("theme", THEMES)
def test_the_board_has_the_colours_of_python(board: dict[str, Any], theme: Theme) -> None:
    assert board["themes"][theme] == {"name": theme, **colours(theme)}
    assert board["scales"][theme] == [SCALES["signed"][theme], SCALES["probability"][theme]]


@pytest.mark.parametrize("theme", THEMES)
def test_a_figure_is_repainted_alike_by_either_side(board: dict[str, Any], theme: Theme) -> None:
    still = drawn(themed(everything(), theme).to_plotly_json())
    assert drawn(board["figures"][theme]) == still
    assert still == [TWINS[colour] if theme == "light" else colour for colour in drawn(everything().to_plotly_json())]


@pytest.mark.parametrize("theme", THEMES)
def test_the_style_sheets_get_each_colour_that_they_ask_for_and_have_none_of_their_own(
    board: dict[str, Any], theme: Theme
) -> None:
    sheets = [ROOT / "pages/board/board.css", *(ROOT / "pages/board/panels").glob("*.css")]
    sheet = "".join(path.read_text(encoding="utf-8") for path in sheets)
    asked = set(re.findall(r"var\((--ls-[\w-]+)", sheet)) - {"--ls-scale", "--ls-size", "--ls-top", "--ls-foot"}
    asked -= {"--ls-place", "--ls-area", "--ls-words", "--ls-least"}  # of panels, and of a hint
    assert board["properties"][theme].keys() == asked
    assert not HEX.findall(sheet)
    train = colours(theme)["train"]
    assert board["properties"][theme]["--ls-shade"] == ", ".join(str(int(train[i : i + 2], 16)) for i in (1, 3, 5))


@pytest.mark.parametrize("theme", THEMES)
def test_streamlit_s_own_theme_has_them_too(theme: Theme) -> None:
    config = tomllib.loads((ROOT / ".streamlit/config.toml").read_text(encoding="utf-8"))["theme"][theme]
    assert config == {setting: colours(theme)[name] for setting, name in SETTINGS.items()}


def test_the_audience_s_page_has_them_too() -> None:
    page = (ROOT / "pages/server/watch.html").read_text(encoding="utf-8").upper()
    known = {colour for theme in THEMES for colour in colours(theme).values()}
    assert set(HEX.findall(page)) <= known
    for theme, rule in zip(THEMES, re.findall(r"(?m)^ +HTML.*", page), strict=True):
        assert colours(theme)["background"] in rule.replace("#FFF;", "#FFFFFF;")
        assert colours(theme)["text"] in rule


def test_there_is_no_second_palette() -> None:
    """A colour of the palette stands in its file alone, and where this module compares it."""
    known = {colour.lower() for theme in THEMES for colour in colours(theme).values() if colour.startswith("#")}
    known |= {colour.lower() for colour in LAYERS}
    allowed = {"palette.js", "watch.html", "gate.py"}  # the last two are plain pages without a script of ours
    for path in sorted((ROOT / "pages").rglob("*")):
        if path.suffix not in (".py", ".js", ".css", ".html") or path.name in allowed:
            continue
        found = {colour.lower() for colour in HEX.findall(path.read_text(encoding="utf-8"))}
        assert not found & known, path.relative_to(ROOT)
